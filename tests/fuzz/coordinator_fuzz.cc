// All requests and messages that a coordinator takes, as bytes, in the middle of a job that two
// gangs work on. The input is a list of calls: one byte says which, one how many bytes of message
// follow. The machine checks each of its ledger entries against the ledger before.
#include "tests/coordinator/scene.h"
#include "tests/fuzz/fuzz_target.h"

namespace liquid::testing {
namespace {

// A message of type T, or one left empty by gRPC's own refusal.
template <typename T>
std::optional<T> Parse(std::string_view bytes) {
  T message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return std::nullopt;
  return message;
}

template <typename Request>
void Ask(std::string_view bytes, Verb verb, Scene* scene) {
  const auto request = Parse<Request>(bytes);
  if (!request.has_value()) return;
  (void)scene->machine.OnVerb(verb, request->who(), scene->now, &scene->actions);
}

void Join(std::string_view bytes, Scene* scene) {
  const auto message = Parse<GangMessage>(bytes);
  if (!message.has_value() || !message->has_join()) return;
  const auto gang = scene->machine.OnJoin(message->join(), scene->now, &scene->actions);
  if (gang.ok()) scene->gangs[*gang].step = message->join().applied_step();
}

void Drain(std::string_view bytes, Scene* scene) {
  const auto request = Parse<DrainRequest>(bytes);
  if (!request.has_value()) return;
  (void)scene->machine.OnDrain(request->gang(), request->who(), scene->now, &scene->actions);
}

void Say(int64_t gang, std::string_view bytes, Scene* scene) {
  const auto message = Parse<GangMessage>(bytes);
  if (message.has_value()) scene->machine.OnMessage(gang, *message, scene->now, &scene->actions);
}

void Call(int which, std::string_view bytes, Scene* scene) {
  switch (which % 16) {
    case 0:
      (void)Parse<GetStatusRequest>(bytes);
      break;
    case 1:
      (void)Parse<WatchRequest>(bytes);
      break;
    case 2:
      (void)Parse<OpenJobRequest>(bytes);
      break;
    case 3:
      return Ask<PauseRequest>(bytes, Verb::kPause, scene);
    case 4:
      return Ask<ResumeRequest>(bytes, Verb::kResume, scene);
    case 5:
      return Ask<CheckpointNowRequest>(bytes, Verb::kCheckpointNow, scene);
    case 6:
      return Ask<StopRequest>(bytes, Verb::kStop, scene);
    case 7:
      return Drain(bytes, scene);
    case 8:
      return Join(bytes, scene);
    case 9:
      scene->machine.OnDisconnected(1 + bytes.size() % 3, scene->now, &scene->actions);
      break;
    case 10:
      return scene->Tick(absl::Seconds(bytes.size()));
    case 11:
      return scene->Work();
    default:
      return Say(1 + which % 3, bytes, scene);
  }
}

const Scene& TwoGangsAtWork() {
  static const Scene* const scene = [] {
    auto* made = new Scene;
    made->AddGang(0);
    made->AddGang(0);
    made->Work();
    return made;
  }();
  return *scene;
}

}  // namespace
}  // namespace liquid::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  liquid::testing::Scene scene = liquid::testing::TwoGangsAtWork();
  std::string_view rest = liquid::AsText(data, size);
  for (int num_calls = 0; rest.size() >= 2 && num_calls < 32; ++num_calls) {
    const auto which = static_cast<uint8_t>(rest[0]);
    const std::string_view bytes = rest.substr(2, static_cast<uint8_t>(rest[1]));
    rest.remove_prefix(2 + bytes.size());
    liquid::testing::Call(which, bytes, &scene);
    scene.Deliver();
  }
  (void)scene.machine.status().SerializeAsString();
  return 0;
}
