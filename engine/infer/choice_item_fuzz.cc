#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "base/file.h"
#include "engine/infer/choice_items.h"

// Any line is an error or an item whose answer is one of the choices and whose prompt is not empty.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace choir::engine;
  for (const bool prefer_messages : {false, true}) {
    const auto item =
        ParseChoiceItem(choir::AsChars({data, size}),
                        {.choices = {"yes", "no", "maybe"}, .prefer_messages = prefer_messages});
    if (!item.ok()) continue;
    CHOIR_CHECK(item->answer < 3);
    CHOIR_CHECK(item->prompt.empty() != item->messages.empty());
  }
  return 0;
}
