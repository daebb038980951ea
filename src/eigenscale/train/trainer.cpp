#include "eigenscale/train/trainer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/core/clock.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/stop_signals.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/train/training_state.h"

namespace eigenscale {

void Trainer::Sums::add(const Sums& other) {
  loss += other.loss;
  wrong += other.wrong;
  samples += other.samples;
  seconds += other.seconds;
  exposed += other.exposed;
}

Trainer::Trainer(const Placement& placement, std::unique_ptr<Objective> objective,
                 const LabelledSamples& training, const LabelledSamples* validation,
                 const TrainerOptions& options)
    : placement_(placement),
      objective_(std::move(objective)),
      training_(training),
      validation_(validation),
      options_(options),
      start_(now_seconds()),
      parallel_(placement, objective_->module(), options.optimizer, options.reducer),
      saved_at_(start_) {
  options_.batches.type = objective_->input_type();
  const auto batch = options_.batches.batch_size;
  const auto micro = options_.micro_batch;
  if (micro > 0 && micro < batch && batch % micro != 0) {
    throw OptionError("the micro-batch is " + std::to_string(micro) +
                      " samples; expected a divisor of the batch of " + std::to_string(batch));
  }
  piece_ = micro > 0 ? std::min(micro, batch) : batch;
}

Trainer::Trainer(const Placement& placement, Network& network, const LabelledSamples& training,
                 const LabelledSamples* validation, const TrainerOptions& options)
    : Trainer(placement, std::make_unique<Classification>(network), training, validation, options) {
  network_ = &network;
  if (options.proximal.any()) {
    const auto& initial = options.initial_specification;
    proximal_.emplace(placement, network, parallel_.optimizer(), options.proximal,
                      initial.is_null() ? network.specification() : initial);
  }
}

TrainingEnd Trainer::run(const TrainingEvents& events) {
  const auto whole = timer_.scope("train");
  // Consecutive pieces of an epoch's order make a batch: nothing depends on the number of ranks.
  auto pieces = options_.batches;
  pieces.batch_size = piece_;
  stream_ = std::make_unique<BatchStream>(placement_, training_, pieces, epoch_,
                                          batch_ * (options_.batches.batch_size / piece_));
  if (proximal_) {
    proximal_->warn = events.warning;
  }
  TrainingEnd end = TrainingEnd::kEpochs;
  if (batch_ == 0 && epoch_ > 0 && must_shrink()) {
    return TrainingEnd::kShrink;  // stopped there before
  }
  if (batch_ == 0 && out_of_patience()) {
    return TrainingEnd::kPatience;  // ended there before
  }
  if (save_first_) {
    check_weights();
    save(events);
    save_first_ = false;
  }
  while (epoch_ < options_.epochs) {
    train_batch(events);
    const bool enough = batch_ == batches_per_epoch() && end_epoch(events);
    if (enough && proximal_) {
      proximal_->finish();  // a threshold that was to act later acts now
    }
    const bool due = options_.checkpoint_every > 0 ? step_ % options_.checkpoint_every == 0
                                                   : batch_ == 0 && interval_is_over_;
    if (batch_ == 0 && !stop_ && !enough && must_shrink()) {
      // Saved by the trainer of the smaller network, so that a resumed run goes on as this one.
      save_first_ = due;
      end = TrainingEnd::kShrink;
      break;
    }
    if (due || stop_ || enough || epoch_ == options_.epochs) {
      check_weights();
      save(events);
    }
    if (enough || stop_) {
      end = enough ? TrainingEnd::kPatience : TrainingEnd::kStopped;
      break;
    }
  }
  stream_.reset();
  return end == TrainingEnd::kStopped && epoch_ == options_.epochs ? TrainingEnd::kEpochs : end;
}

std::int64_t Trainer::batches_per_epoch() const {
  return (training_.count() + options_.batches.batch_size - 1) / options_.batches.batch_size;
}

std::int64_t Trainer::size_of_batch() const {
  const auto batch = options_.batches.batch_size;
  return std::min(batch, training_.count() - batch_ * batch);
}

void Trainer::train_batch(const TrainingEvents& events) {
  const double begin = now_seconds();
  const auto whole = timer_.scope("step");
  objective_->module().train();
  parallel_.zero_gradients();
  const auto samples = static_cast<double>(size_of_batch());
  Sums sums = accumulate();
  std::array<double, 4> totals = {
      sums.loss, sums.wrong, stop_is_due(start_, options_.time_limit) ? 1.0 : 0.0,
      now_seconds() - saved_at_ >= options_.checkpoint_interval ? 1.0 : 0.0};
  {
    const auto scope = timer_.scope("reduce");
    const TraceSpan span("reduce");
    parallel_.reduce(totals);
  }
  check_finite(totals[0], "loss");
  const double learning_rate = options_.learning_rate(step_, batches_per_epoch());
  double norm = 0;
  {
    const auto scope = timer_.scope("update");
    const TraceSpan span("update");
    // Of every step: one update by a gradient that is not finite, and nothing is left to save.
    norm = parallel_.reducer().gradient_norm();
    check_finite(norm, "gradient's norm");
    if (options_.clip_norm > 0 && norm > options_.clip_norm) {
      parallel_.reducer().scale_gradients(options_.clip_norm / norm);
    }
    parallel_.update(learning_rate);
  }
  if (proximal_) {
    const auto scope = timer_.scope("proximal step");
    const bool epoch_ends = batch_ + 1 == batches_per_epoch();
    proximal_->after_step(learning_rate, epoch_ends, epoch_ends && epoch_ + 1 == options_.epochs);
  }
  ++step_;
  ++batch_;
  stop_ = totals[2] > 0;
  interval_is_over_ = totals[3] > 0;
  sums = {.loss = totals[0] * samples,
          .wrong = totals[1],
          .samples = samples,
          .seconds = now_seconds() - begin,
          .exposed = parallel_.reducer().exposed_seconds()};
  epoch_sums_.add(sums);
  line_sums_.add(sums);
  if (step_ % options_.log_every == 0) {
    report_step(events, learning_rate, norm);
  }
}

Trainer::Sums Trainer::accumulate() {
  Sums sums;
  const auto total = size_of_batch();
  std::vector<torch::Tensor> losses;
  std::vector<torch::Tensor> wrong;
  for (std::int64_t first = 0; first < total; first += piece_) {
    const auto batch = [&] {
      const auto scope = timer_.scope("wait for data");
      return stream_->next();
    }();
    torch::Tensor loss;
    {
      const auto scope = timer_.scope("forward");
      const TraceSpan span("forward");
      const auto terms = objective_->terms(batch);
      loss = terms.loss / static_cast<double>(total);
      losses.push_back(loss.detach());
      if (terms.wrong.defined()) {
        wrong.push_back(terms.wrong);
      }
    }
    const auto scope = timer_.scope("backward");
    const TraceSpan span("backward");
    if (first + piece_ >= total) {
      parallel_.last_backward();
    }
    loss.backward();
  }
  // Only now: a device would run dry while the host waits for a number before it hands out more.
  for (const auto& loss : losses) {
    sums.loss += number_of(loss, "loss").toDouble();
  }
  for (const auto& count : wrong) {
    sums.wrong += static_cast<double>(number_of(count, "loss").toLong());
  }
  return sums;
}

void Trainer::check_finite(double value, const char* what, std::int64_t ahead) const {
  if (!std::isfinite(value)) {
    const bool epoch_is_over = ahead == 0 && batch_ == 0;
    throw Error(ExitCode::kNumerical,
                std::string("the ") + what + " is not finite in step " +
                    std::to_string(step_ + ahead) + " (epoch " +
                    std::to_string(epoch_ + (epoch_is_over ? 0 : 1)) +
                    "); lower --learning-rate, set --clip-norm or look at the scale of the data. " +
                    (saved_step_ >= 0
                         ? "The checkpoint of step " + std::to_string(saved_step_) + " is intact"
                         : "There is no checkpoint yet"),
                /*agreed=*/true);
  }
}

// An update may overflow though its gradient was finite.
void Trainer::check_weights() const {
  double sum = 0;
  for (const auto& [name, tensor] : named_parameters(objective_->module())) {
    if (tensor.is_floating_point() && !number_of(tensor.isfinite().all(), "checks").toBool()) {
      sum = std::numeric_limits<double>::quiet_NaN();
    }
  }
  check_finite(sum, "network", 0);
}

void Trainer::report_step(const TrainingEvents& events, double learning_rate, double norm) {
  events.step({.step = step_,
               .epoch = epoch_ + 1,
               .loss = line_sums_.loss / line_sums_.samples,
               .error = line_sums_.wrong / line_sums_.samples,
               .learning_rate = learning_rate,
               .gradient_norm = norm,
               .samples_per_second = line_sums_.samples / line_sums_.seconds,
               .exposed_communication = line_sums_.exposed / line_sums_.seconds});
  line_sums_ = {};
}

bool Trainer::end_epoch(const TrainingEvents& events) {
  TrainingEpoch report{.epoch = epoch_ + 1,
                       .step = step_,
                       .training_loss = epoch_sums_.loss / epoch_sums_.samples,
                       .training_error = epoch_sums_.wrong / epoch_sums_.samples,
                       .validation_loss = {},
                       .validation_accuracy = {},
                       .seconds = epoch_sums_.seconds,
                       .layers = proximal_ ? proximal_->layers() : std::vector<LayerSize>()};
  epoch_losses_.push_back(report.training_loss);
  ++epoch_;
  batch_ = 0;
  epoch_sums_ = {};
  if (validation_ != nullptr) {
    const auto evaluation = evaluate(*validation_);
    report.validation_loss = evaluation.loss;
    report.validation_accuracy = evaluation.accuracy;
    if (!best_accuracy_ || evaluation.accuracy > *best_accuracy_) {
      best_accuracy_ = evaluation.accuracy;
      best_epoch_ = epoch_;
      best_ = host_copies(objective_->module());
    }
  }
  events.epoch(report);
  return events.enough(report) || out_of_patience();
}

bool Trainer::out_of_patience() const {
  return options_.patience > 0 && best_accuracy_ && epoch_ - best_epoch_ >= options_.patience;
}

Evaluation Trainer::evaluate(const LabelledSamples& samples) {
  const auto scope = timer_.scope("evaluate");
  return objective_->evaluate(placement_, samples, options_.batches.scale);
}

bool Trainer::must_shrink() const {
  return proximal_ && options_.shrink_every > 0 && epoch_ % options_.shrink_every == 0 &&
         epoch_ < options_.epochs && proximal_->has_dead_neurons();
}

ShrunkTraining Trainer::shrink() {
  ShrunkTraining result{
      {network_->specification(), host_copies(objective_->module())}, {}, state(), timer_};
  result.state["save_first"] = save_first_;
  result.state["saved_step"] = saved_step_;
  const auto names = network_->named_parameters().keys();
  const auto& optimizer = parallel_.optimizer();
  for (std::size_t which = 0; which < optimizer.moments().size(); ++which) {
    auto& moments = result.moments.emplace_back();
    for (std::size_t i = 0; i < names.size(); ++i) {
      moments[names[i]] = host_copy(optimizer.moment_of(which, i));
    }
  }
  result.removed = remove_zero_neurons(result.model, result.moments);
  return result;
}

void Trainer::adopt(const ShrunkTraining& shrunk) {
  load_parameters(objective_->module(), shrunk.model.tensors, "the smaller network");
  set_state(shrunk.state);
  save_first_ = shrunk.state.at("save_first");
  saved_step_ = save_first_ ? -1 : shrunk.state.at("saved_step").get<std::int64_t>();
  const auto names = network_->named_parameters().keys();
  for (std::size_t which = 0; which < shrunk.moments.size(); ++which) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      copy_into(parallel_.optimizer().moment_of(which, i), shrunk.moments[which].at(names[i]),
                "model");
    }
  }
  timer_ = shrunk.timer;
}

NamedTensors Trainer::best_model() const {
  return proximal_ || best_.empty() ? host_copies(objective_->module()) : best_;
}

nlohmann::json Trainer::state() const {
  const auto& reducer = const_cast<Trainer*>(this)->parallel_.reducer();
  const auto& optimizer = const_cast<Trainer*>(this)->parallel_.optimizer();
  nlohmann::json best = nullptr;
  if (best_accuracy_) {
    best = {{"accuracy", *best_accuracy_}, {"epoch", best_epoch_}};
  }
  return {{"setting", training_setting(*objective_, training_, options_)},
          {"network", objective_->specification()},
          {"ranks", placement_.control().size()},
          {"step", step_},
          {"epoch", epoch_},
          {"batch", batch_},
          {"optimizer_steps", optimizer.steps()},
          {"bucket_order", reducer.order()},
          {"bucket_order_is_final", reducer.order_is_final()},
          {"epoch_sums", epoch_sums_},
          {"epoch_losses", epoch_losses_},
          {"line_sums", line_sums_},
          {"proximal",
           {{"pending", proximal_ ? proximal_->pending() : 0},
            {"steps", proximal_ ? proximal_->pending_steps() : 0}}},
          {"best", best}};
}

void Trainer::save(const TrainingEvents& events) {
  if (options_.checkpoints.empty() || saved_step_ == step_) {
    return;
  }
  const auto scope = timer_.scope("checkpoint");
  const TraceSpan span("checkpoint");
  events.before_save();
  write_checkpoint(placement_.control(), options_.checkpoints,
                   {.step = step_,
                    .state = state(),
                    .model = named_parameters(objective_->module()),
                    .best = best_},
                   parallel_.optimizer(), options_.keep);
  saved_step_ = step_;
  saved_at_ = now_seconds();
}

void Trainer::set_state(const nlohmann::json& state) {
  step_ = state.at("step");
  epoch_ = state.at("epoch");
  batch_ = state.at("batch");
  parallel_.optimizer().set_steps(state.at("optimizer_steps"));
  parallel_.reducer().set_order(state.at("bucket_order"), state.at("bucket_order_is_final"));
  state.at("epoch_sums").get_to(epoch_sums_);
  state.at("line_sums").get_to(line_sums_);
  epoch_losses_ = state.value("epoch_losses", epoch_losses_);  // which early ones have not
  if (proximal_) {
    proximal_->set_pending(state.at("proximal").at("pending"), state.at("proximal").at("steps"));
  }
  if (!state.at("best").is_null()) {
    best_accuracy_ = state["best"].at("accuracy").get<double>();
    best_epoch_ = state["best"].at("epoch");
  }
}

void Trainer::restore(const std::filesystem::path& path) {
  const auto checkpoint = read_checkpoint(placement_.control(), path);
  const auto& state = checkpoint.state;
  try {
    require_same_setting(state.at("setting"), training_setting(*objective_, training_, options_),
                         path);
    load_parameters(objective_->module(), checkpoint.model, path / "model.safetensors");
    set_state(state);
    best_ = checkpoint.best;
  } catch (const Error& error) {  // every rank has read the same
    throw Error(error.exit_code(), error.what(), /*agreed=*/true);
  } catch (const nlohmann::json::exception& error) {
    throw Error(ExitCode::kInput, "'" + (path / "state.json").string() + "': " + error.what(),
                /*agreed=*/true);
  }
  read_moments(placement_.control(), path, parallel_.optimizer());
  saved_step_ = step_;
}

}  // namespace eigenscale
