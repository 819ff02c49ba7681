// What people and tools are told of a preparation, and what its file remembers of it.
#include "data/prepare_report.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace liquid {
namespace {

using Json = nlohmann::json;

// One table for both directions, so that neither forgets a count.
struct Count {
  const char* key;
  int64_t* value;
};
std::vector<Count> Counts(PrepareReport* report) {
  OverlongCounts& overlong = report->overlong;
  return {{"examples", &report->num_examples},
          {"rows", &report->num_rows},
          {"documents", &report->num_documents},
          {"tokens", &report->num_tokens},
          {"target_tokens", &report->num_target_tokens},
          {"overlong", &overlong.num_overlong},
          {"truncated", &overlong.num_truncated},
          {"split", &overlong.num_split},
          {"dropped", &overlong.num_dropped},
          {"untrained", &overlong.num_untrained},
          {"tokens_cut", &overlong.num_tokens_cut},
          {"whole_turns", &overlong.num_whole_turns},
          {"cut_turns", &overlong.num_cut_turns},
          {"lost_turns", &overlong.num_lost_turns},
          {"cut_final_turns", &overlong.num_cut_final_turns},
          {"longest", &report->lengths.longest},
          {"without_end", &report->num_without_end},
          {"left_out_messages", &report->num_left_out},
          {"bad_rows", &report->num_bad_rows}};
}

// `part` of `whole` in percent.
std::string Percent(int64_t part, int64_t whole) {
  return absl::StrFormat(
      "%.1f%%", whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

// The strings of a list into `*texts`; false if it is none.
bool ReadTexts(const Json& json, const char* key, std::vector<std::string>* texts) {
  const auto list = json.find(key);
  if (list == json.end() || !list->is_array()) return false;
  for (const Json& item : *list) {
    if (!item.is_string()) return false;
    texts->push_back(item.get<std::string>());
  }
  return true;
}

bool ReadText(const Json& json, const char* key, std::string* text) {
  const auto value = json.find(key);
  if (value == json.end() || !value->is_string()) return false;
  *text = value->get<std::string>();
  return true;
}

bool ReadSwitch(const Json& json, const char* key, bool* value) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_boolean()) return false;
  *value = found->get<bool>();
  return true;
}

Json ChatToJson(const ChatFacts& chat) {
  return {{"chat_template", chat.chat_template},
          {"generation_markers", chat.has_generation_markers},
          {"stop_token", chat.stop_token},
          {"stop_token_id", chat.stop_token_id},
          {"stops_with_eos", chat.stops_with_eos},
          {"bos_token", chat.bos_token},
          {"tokenizer_adds_bos", chat.tokenizer_adds_bos}};
}

bool ChatFromJson(const Json& json, ChatFacts* chat) {
  if (!json.is_object()) return false;
  const auto id = json.find("stop_token_id");
  if (id == json.end() || !id->is_number_integer()) return false;
  chat->stop_token_id = id->get<int32_t>();
  return ReadText(json, "chat_template", &chat->chat_template) &&
         ReadSwitch(json, "generation_markers", &chat->has_generation_markers) &&
         ReadText(json, "stop_token", &chat->stop_token) &&
         ReadSwitch(json, "stops_with_eos", &chat->stops_with_eos) &&
         ReadText(json, "bos_token", &chat->bos_token) &&
         ReadSwitch(json, "tokenizer_adds_bos", &chat->tokenizer_adds_bos);
}

bool LengthsFromJson(const Json& json, LengthHistogram* lengths) {
  const auto list = json.find("lengths");
  if (list == json.end() || !list->is_array() || list->size() != lengths->counts.size()) {
    return false;
  }
  for (size_t i = 0; i < list->size(); ++i) {
    if (!(*list)[i].is_number_integer()) return false;
    lengths->counts[i] = (*list)[i].get<int64_t>();
  }
  return true;
}

// What the loss is of and what of it was asked for; not what the template says of it.
bool LossFromJson(const Json& json, LossChoice* loss) {
  std::string name;
  if (!ReadText(json, "loss_on", &name) ||
      !ReadSwitch(json, "train_on_stop_token", &loss->stop_token)) {
    return false;
  }
  const absl::StatusOr<LossOn> loss_on = ParseLossOn(name);
  if (!loss_on.ok()) return false;
  loss->loss_on = *loss_on;
  return true;
}

// The first rows of some.
std::string ListText(const std::vector<std::string>& rows) {
  return absl::StrCat(absl::StrJoin(rows, ", "), rows.size() < kMaxRowsListed ? "" : ", ...");
}

std::string WhoIsTrained(LossOn loss_on) {
  switch (loss_on) {
    case LossOn::kAssistant:
      return "what the assistant says";
    case LossOn::kLast:
      return "what the assistant says last";
    case LossOn::kAll:
      return "everything";
  }
  return "";
}

// Lines of LossText, each with the line end before it.
std::string ChatText(const ChatFacts& chat, const LossChoice& loss) {
  const char* by = chat.has_generation_markers ? ", whose generation blocks say what is trained"
                                               : ", with words known by their origin";
  std::string text = absl::StrCat("\n  template: ", chat.chat_template,
                                  loss.loss_on == LossOn::kAll ? "" : by, "\n  stop token: ");
  if (chat.stop_token_id < 0) {
    absl::StrAppend(&text, "as in the rows: the template gives none to a made-up conversation");
  } else {
    absl::StrAppend(&text, "'", chat.stop_token, "' (", chat.stop_token_id,
                    chat.stops_with_eos ? ", eos_token), " : ", not eos_token), ",
                    loss.stop_token ? "trained" : "not trained");
  }
  if (!chat.bos_token.empty()) {
    absl::StrAppend(&text, "\n  begin: one '", chat.bos_token, "' by the template",
                    chat.tokenizer_adds_bos ? "; the tokenizer's own is not added to it" : "");
  } else if (chat.stop_token_id >= 0 && chat.tokenizer_adds_bos) {
    absl::StrAppend(&text, "\n  begin: without BOS, as the template writes none");
  }
  return text;
}

}  // namespace

Json ReportToJson(const PrepareReport& report) {
  PrepareReport copy = report;
  Json json;
  for (const Count& count : Counts(&copy)) json[count.key] = *count.value;
  json["bad_row_list"] = report.bad_rows;
  json["untrained_list"] = report.untrained_rows;
  json["left_out_list"] = report.left_out_rows;
  json["first_sample"] = report.first_sample;
  json["fill"] = report.fill;
  json["lengths"] = report.lengths.counts;
  json["loss_on"] = std::string(LossOnName(report.loss.loss_on));
  json["train_on_stop_token"] = report.loss.stop_token;
  if (report.chat.has_value()) json["chat"] = ChatToJson(*report.chat);
  return json;
}

bool ReportFromJson(const Json& json, PrepareReport* report) {
  if (!json.is_object()) return false;
  for (const Count& count : Counts(report)) {
    const auto value = json.find(count.key);
    if (value == json.end() || !value->is_number_integer()) return false;
    *count.value = value->get<int64_t>();
  }
  const auto fill = json.find("fill");
  if (fill == json.end() || !fill->is_number()) return false;
  report->fill = fill->get<double>();
  if (const auto chat = json.find("chat"); chat != json.end()) {
    report->chat.emplace();
    if (!ChatFromJson(*chat, &*report->chat)) return false;
  }
  return ReadText(json, "first_sample", &report->first_sample) &&
         ReadTexts(json, "bad_row_list", &report->bad_rows) &&
         ReadTexts(json, "untrained_list", &report->untrained_rows) &&
         ReadTexts(json, "left_out_list", &report->left_out_rows) &&
         LengthsFromJson(json, &report->lengths) && LossFromJson(json, &report->loss);
}

Json MixtureToJson(const std::vector<MixturePart>& mixture) {
  Json json = Json::array();
  for (const MixturePart& part : mixture) {
    json.push_back({{"name", part.name},
                    {"rows", part.num_rows},
                    {"documents", part.num_documents},
                    {"tokens", part.num_tokens},
                    {"target_tokens", part.num_target_tokens}});
  }
  return json;
}

absl::StatusOr<PrepareReport> ReportOf(const Dataset& dataset) {
  const Json provenance = Json::parse(dataset.provenance(), nullptr, /*allow_exceptions=*/false);
  PrepareReport report;
  if (!provenance.is_object() || !provenance.contains("report") ||
      !ReportFromJson(provenance["report"], &report)) {
    return absl::DataLossError(
        absl::StrCat(dataset.path(), ": it has no report of this program; prepare it again"));
  }
  report.path = dataset.path();
  report.digest = dataset.digest();
  return report;
}

std::string LossText(const PrepareReport& report) {
  std::string text = absl::StrCat("trained: ", WhoIsTrained(report.loss.loss_on));
  if (report.chat.has_value()) {
    text += ChatText(*report.chat, report.loss);
  } else if (!report.loss.stop_token) {
    text += ", without the end of sequence";
  }
  if (report.num_without_end > 0) {
    absl::StrAppend(&text, "\n  without EOS: ", report.num_without_end,
                    " texts, as the tokenizer's directory names no eos_token");
  }
  return text;
}

std::string LeftOutText(const PrepareReport& report) {
  const OverlongCounts& overlong = report.overlong;
  std::string text;
  if (overlong.num_overlong > 0) {
    absl::StrAppend(&text, "\n  longer than a row: ", overlong.num_overlong, " (",
                    overlong.num_truncated, " truncated, ", overlong.num_split, " split, ",
                    overlong.num_dropped, " dropped; ", overlong.num_tokens_cut,
                    " tokens left out)");
  }
  if (overlong.num_cut_final_turns > 0) {
    absl::StrAppend(&text, "\n  truncated turns: ", overlong.num_cut_turns, " cut in the middle, ",
                    overlong.num_lost_turns, " left out; ", overlong.num_cut_final_turns,
                    " documents without their final turn's end");
  }
  if (overlong.num_untrained > 0) {
    absl::StrAppend(&text,
                    "\n  left out, as nothing trained fits into a row: ", overlong.num_untrained,
                    " (", ListText(report.untrained_rows), ")");
  }
  if (report.num_left_out > 0) {
    absl::StrAppend(&text, "\n  messages that the chat template leaves out, so that they are not ",
                    "trained: ", report.num_left_out, " (", ListText(report.left_out_rows), ")");
  }
  return text;
}

std::string MixtureText(const std::vector<MixturePart>& mixture) {
  std::string text;
  for (const MixturePart& part : mixture) {
    absl::StrAppend(&text, "\n  source ", part.name, ": ", part.num_documents, " documents in ",
                    part.num_rows, " rows; ", part.num_tokens, " tokens, ", part.num_target_tokens,
                    " trained");
  }
  return text;
}

std::string PrepareReportText(const PrepareReport& report) {
  std::string text = absl::StrCat(
      report.num_examples, " examples, ", report.num_documents, " documents in ", report.num_rows,
      " rows, filled to ", absl::StrFormat("%.1f%%", 100 * report.fill), "; ", report.num_tokens,
      " tokens, ", report.num_target_tokens, " trained (",
      Percent(report.num_target_tokens, report.num_tokens), "); digest ", ToHex(report.digest),
      "\n  ", LossText(report));
  absl::StrAppend(&text, MixtureText(report.mixture), LeftOutText(report));
  if (report.num_bad_rows > 0) {
    absl::StrAppend(&text, "\n  bad rows that were skipped: ", report.num_bad_rows);
    for (const std::string& row : report.bad_rows) absl::StrAppend(&text, "\n    ", row);
  }
  absl::StrAppend(&text, "\n  first sample, [[trained]]: ", report.first_sample);
  return text;
}

std::string PrepareReportJson(const PrepareReport& report) {
  Json json = ReportToJson(report);
  json["path"] = report.path;
  json["reused"] = report.reused;
  json["digest"] = ToHex(report.digest);
  if (!report.mixture.empty()) json["mixture"] = MixtureToJson(report.mixture);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace liquid
