// Errors, and arguments as JSON for the native module.
"use strict";

class LicenseError extends Error {
  constructor({ code, detail, http_status, advice = null, state = null }) {
    super(`${code}: ${detail}`);
    this.name = new.target.name;
    this.code = code;
    this.detail = detail;
    this.httpStatus = http_status;
    this.advice = advice;
    this.state = state;
  }

  problem() {
    const { httpStatus: status, code, detail } = this;
    return { type: "about:blank", title: "The license token is refused.", status, code, detail };
  }
}

class VerifyError extends LicenseError {}
class NotEntitled extends LicenseError {}
class SettingsError extends LicenseError {}
class FetchError extends LicenseError {}
class LeaseError extends LicenseError {}

const KINDS = {
  refused: VerifyError,
  not_entitled: NotEntitled,
  settings: SettingsError,
  fetch: FetchError,
  lease: LeaseError,
};

function converted(error) {
  if (error instanceof LicenseError) return error;
  let failure;
  try {
    failure = JSON.parse(error.message);
  } catch {
    // A panic is a generic failure. All other errors of napi are about the types of arguments.
    if (error.code !== "GenericFailure") return new TypeError(error.message);
    failure = { code: "internal_error", detail: error.message, http_status: 500 };
  }
  return new (KINDS[failure.kind] ?? LicenseError)(failure);
}

function run(call) {
  try {
    return call();
  } catch (error) {
    throw converted(error);
  }
}

async function later(call) {
  try {
    return await call();
  } catch (error) {
    throw converted(error);
  }
}

const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

// Returns a value as JSON. JSON has no NaN and no infinity: these would become null, and so the default.
function textOf(name, value) {
  return JSON.stringify(value, (_, member) => {
    if (typeof member === "number" && !Number.isFinite(member)) {
      const detail = `\`${name}\` has a number that is not finite`;
      throw new SettingsError({ code: "argument_invalid", detail, http_status: 500 });
    }
    return member;
  });
}

// Settings are camelCase here and snake_case in the other languages. Both are accepted.
function settingsOf(settings) {
  const given = Object.entries(settings).filter(([, value]) => value != null);
  return textOf("settings", Object.fromEntries(given.map(([name, value]) => [snake(name), value])));
}

function holderOf({ userId, machineId, ...holder }) {
  if (userId !== undefined) holder.user_id = userId;
  if (machineId !== undefined) holder.machine_id = machineId;
  return textOf("holder", holder);
}

function optionsOf({ takeOver, ...options }) {
  return textOf("options", takeOver === undefined ? options : { ...options, take_over: takeOver });
}

module.exports = {
  FetchError,
  LeaseError,
  LicenseError,
  NotEntitled,
  SettingsError,
  VerifyError,
  holderOf,
  later,
  optionsOf,
  run,
  settingsOf,
  textOf,
};
