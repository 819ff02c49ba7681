// The built-in functions by which CUDA threads meet: barriers, votes, shuffles. The argument that
// NVIDIA's do not have says where in the source the call is.
#ifndef LIQUID_TESTS_EMULATED_CUDA_DEVICE_FUNCTIONS_H_
#define LIQUID_TESTS_EMULATED_CUDA_DEVICE_FUNCTIONS_H_

#include <cstring>
#include <type_traits>

#include "tests/emulated_cuda/kernel_interface.h"

// threadIdx, blockIdx, blockDim, gridDim: NVIDIA declares them `extern const` here.
#include <device_launch_parameters.h>

inline void __syncthreads(liquid::emulated::Site site = liquid::emulated::Site::Here()) {
  liquid::emulated::BlockBarrier(false, site);
}
inline int __syncthreads_count(int predicate,
                               liquid::emulated::Site site = liquid::emulated::Site::Here()) {
  return liquid::emulated::BlockBarrier(predicate != 0, site);
}
inline int __syncthreads_and(int predicate,
                             liquid::emulated::Site site = liquid::emulated::Site::Here()) {
  return liquid::emulated::BlockBarrier(predicate == 0, site) == 0 ? 1 : 0;
}
inline int __syncthreads_or(int predicate,
                            liquid::emulated::Site site = liquid::emulated::Site::Here()) {
  return liquid::emulated::BlockBarrier(predicate != 0, site) != 0 ? 1 : 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu,
                       liquid::emulated::Site site = liquid::emulated::Site::Here()) {
  liquid::emulated::WarpCollective(mask, "__syncwarp", nullptr, nullptr, /*orders_memory=*/true,
                                   site);
}
inline void __threadfence() { liquid::emulated::MemoryFence(); }
inline void __threadfence_block() { liquid::emulated::MemoryFence(); }
inline void __threadfence_system() { liquid::emulated::MemoryFence(); }

namespace liquid::emulated {

template <typename T>
T ShuffleFrom(unsigned mask, T value, int source_lane, Site site) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(uint64_t));
  Shuffle shuffle;
  memcpy(&shuffle.in, &value, sizeof value);
  shuffle.source_lane = static_cast<unsigned>(source_lane);
  WarpCollective(mask, "__shfl_sync", &shuffle, ResolveShuffle, /*orders_memory=*/false, site);
  memcpy(&value, &shuffle.out, sizeof value);
  return value;
}

// The lanes of a warp form groups of `width`, and a source outside the own group is oneself.
inline int InGroup(int source_lane, int width) {
  const int lane = static_cast<int>(current->lane);
  return source_lane / width == lane / width && source_lane >= 0 ? source_lane : lane;
}

}  // namespace liquid::emulated

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              liquid::emulated::Site site = liquid::emulated::Site::Here()) {
  const int lane = static_cast<int>(liquid::emulated::current->lane);
  return liquid::emulated::ShuffleFrom(mask, value, lane / width * width + (source & (width - 1)),
                                       site);
}
// A source in an earlier group is allowed here, one in a later group is not.
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  liquid::emulated::Site site = liquid::emulated::Site::Here()) {
  const int lane = static_cast<int>(liquid::emulated::current->lane);
  const int source = lane ^ bits;
  return liquid::emulated::ShuffleFrom(mask, value, source / width > lane / width ? lane : source,
                                       site);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32,
                   liquid::emulated::Site site = liquid::emulated::Site::Here()) {
  const int source = static_cast<int>(liquid::emulated::current->lane + distance);
  return liquid::emulated::ShuffleFrom(mask, value, liquid::emulated::InGroup(source, width), site);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32,
                 liquid::emulated::Site site = liquid::emulated::Site::Here()) {
  const int source = static_cast<int>(liquid::emulated::current->lane - distance);
  return liquid::emulated::ShuffleFrom(mask, value, liquid::emulated::InGroup(source, width), site);
}

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              liquid::emulated::Site site = liquid::emulated::Site::Here()) {
  liquid::emulated::Ballot ballot{predicate != 0, 0};
  liquid::emulated::WarpCollective(mask, "__ballot_sync", &ballot, liquid::emulated::ResolveBallot,
                                   /*orders_memory=*/false, site);
  return ballot.out;
}
inline int __any_sync(unsigned mask, int predicate,
                      liquid::emulated::Site site = liquid::emulated::Site::Here()) {
  return __ballot_sync(mask, predicate, site) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate,
                      liquid::emulated::Site site = liquid::emulated::Site::Here()) {
  return __ballot_sync(mask, predicate == 0 ? 1 : 0, site) == 0 ? 1 : 0;
}
template <typename T>
unsigned __match_any_sync(unsigned mask, T value,
                          liquid::emulated::Site site = liquid::emulated::Site::Here()) {
  liquid::emulated::Match match;
  memcpy(&match.in, &value, sizeof value);
  liquid::emulated::WarpCollective(mask, "__match_any_sync", &match, liquid::emulated::ResolveMatch,
                                   /*orders_memory=*/false, site);
  return match.out;
}

namespace liquid::emulated {

template <typename T, typename Operation>
T ReduceOverWarp(unsigned mask, T value, Operation operation, Site site) {
  static_assert(std::is_integral_v<T>, "__reduce_*_sync takes integers of 32 bits");
  T result = value;
  for (int lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    const T other = ShuffleFrom(mask, value, lane, site);
    if (lane != static_cast<int>(current->lane)) result = operation(result, other);
  }
  return result;
}

}  // namespace liquid::emulated

template <typename T>
T __reduce_add_sync(unsigned mask, T value,
                    liquid::emulated::Site site = liquid::emulated::Site::Here()) {
  return liquid::emulated::ReduceOverWarp(
      mask, value, [](T a, T b) { return a + b; }, site);
}
template <typename T>
T __reduce_max_sync(unsigned mask, T value,
                    liquid::emulated::Site site = liquid::emulated::Site::Here()) {
  return liquid::emulated::ReduceOverWarp(
      mask, value, [](T a, T b) { return a < b ? b : a; }, site);
}
template <typename T>
T __reduce_min_sync(unsigned mask, T value,
                    liquid::emulated::Site site = liquid::emulated::Site::Here()) {
  return liquid::emulated::ReduceOverWarp(
      mask, value, [](T a, T b) { return b < a ? b : a; }, site);
}

#endif  // LIQUID_TESTS_EMULATED_CUDA_DEVICE_FUNCTIONS_H_
