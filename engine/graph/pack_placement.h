#ifndef CHOIR_ENGINE_GRAPH_PACK_PLACEMENT_H_
#define CHOIR_ENGINE_GRAPH_PACK_PLACEMENT_H_

#include "engine/graph/graph.h"

namespace choir::engine {

// Moves each pack node up to where what it packs is used for the last time before it, so that the
// f32 tensor dies there. Changes no value: nothing is packed before it was computed, and what is
// packed never changes.
void PlacePacks(Graph& graph);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_GRAPH_PACK_PLACEMENT_H_
