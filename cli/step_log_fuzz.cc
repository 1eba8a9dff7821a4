#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/file.h"
#include "cli/step_log.h"
#include "cli/training_curve.h"

// Any log keeps whole lines of its beginning, and what they say can be drawn.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using choir::cli::TrainingCurve;
  const std::string_view log = choir::AsChars({data, size});
  const std::string_view kept = choir::cli::KeptLines(log, {.steps = 3, .evaluations = 2});
  CHOIR_CHECK(log.starts_with(kept));
  TrainingCurve curve;
  for (std::string_view rest = kept; !rest.empty();) {
    const size_t end = rest.find('\n');
    CHOIR_CHECK(end != std::string_view::npos);
    CHOIR_CHECK(choir::cli::AddLogLine(rest.substr(0, end), curve));
    rest.remove_prefix(end + 1);
  }
  CHOIR_CHECK(curve.steps.size() <= 3 && curve.held_out.size() <= 2);
  CHOIR_CHECK(choir::cli::RenderTrainingPlot(curve, log).ends_with("</svg>\n"));
  return 0;
}
