#include "data/mixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"

namespace liquid {
namespace {

// `total` draws by weight; largest rests first.
std::vector<int64_t> SharesOf(const Data& data, int64_t total) {
  double sum = 0;
  for (const MixedSource& source : data.mix()) sum += source.weight();
  std::vector<int64_t> shares;
  std::vector<double> rests;
  for (const MixedSource& source : data.mix()) {
    const double share = static_cast<double>(total) * (source.weight() / sum);
    shares.push_back(static_cast<int64_t>(share));
    rests.push_back(share - std::floor(share));
  }
  std::vector<size_t> by_rest(shares.size());
  std::iota(by_rest.begin(), by_rest.end(), size_t{0});
  std::stable_sort(by_rest.begin(), by_rest.end(),
                   [&](size_t a, size_t b) { return rests[a] > rests[b]; });
  const int64_t left = total - std::accumulate(shares.begin(), shares.end(), int64_t{0});
  for (int64_t i = 0; i < left; ++i) ++shares[by_rest[static_cast<size_t>(i) % by_rest.size()]];
  return shares;
}

}  // namespace

absl::StatusOr<std::vector<RowSource>> MixedSources(const Data& data,
                                                    const std::vector<MixturePart>& parts) {
  if (static_cast<int>(parts.size()) != data.mix_size()) {
    return absl::InvalidArgumentError(absl::StrCat("the prepared data has ", parts.size(),
                                                   " sources, data.mix ", data.mix_size()));
  }
  int64_t total = 0;
  for (const MixturePart& part : parts) total += part.num_rows;
  const bool by_weight = data.mix_size() > 0 && data.mix(0).weight() > 0;
  const std::vector<int64_t> shares = by_weight ? SharesOf(data, total) : std::vector<int64_t>();
  std::vector<RowSource> sources;
  for (int i = 0; i < data.mix_size(); ++i) {
    const MixedSource& source = data.mix(i);
    const int64_t rows = parts[static_cast<size_t>(i)].num_rows;
    const int64_t draws = by_weight ? shares[static_cast<size_t>(i)]
                                    : std::llround(source.epochs() * static_cast<double>(rows));
    if (draws < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("data.mix: ", source.name(), " has ", rows, " of ", total, " rows, and ",
                       by_weight ? absl::StrCat("weight ", source.weight())
                                 : absl::StrCat("epochs ", source.epochs()),
                       " draws none of them in an epoch of the job: give it a larger share"));
    }
    sources.push_back({rows, draws});
  }
  return sources;
}

}  // namespace liquid
