/* dpv: checks license tokens in a data plane. See bindings/README.md.
 *
 * A test generates this header from the Rust sources: UPDATE=1 cargo test -p dp-verifier-c
 *
 * Strings are UTF-8 and end with NUL. The library copies what it needs from its arguments. The caller
 * frees every string and every handle that the library returns, once, with the function of its type; all
 * of these accept NULL. A handle may be used by any number of threads at the same time, but not after it
 * is freed. An out parameter may be NULL: the caller then does not receive that result.
 *
 * Codes and functions are only added within an ABI version.
 */

#ifndef DPV_H
#define DPV_H

#include <stdbool.h>
#include <stdint.h>

// The result of a function. A number never changes its meaning, and later versions add numbers.
typedef enum DpvCode {
  // Success.
  DPV_CODE_OK = 0,
  // The request has no token.
  DPV_CODE_TOKEN_MISSING = 1,
  // The text is not a compact JWS in canonical form, or its header is not acceptable.
  DPV_CODE_TOKEN_MALFORMED = 2,
  // The token, or its header, exceeds the size limit.
  DPV_CODE_TOKEN_TOO_LARGE = 3,
  // The header's `alg` is not `RS256`.
  DPV_CODE_ALG_NOT_ALLOWED = 4,
  // The header names no key.
  DPV_CODE_KID_MISSING = 5,
  // The key is not known.
  DPV_CODE_KID_UNKNOWN = 6,
  // An imported license file has withdrawn the key.
  DPV_CODE_KEY_WITHDRAWN = 7,
  // The signature is not by the named key over this text.
  DPV_CODE_SIGNATURE_INVALID = 8,
  // The header's `typ` is not `license+jwt`.
  DPV_CODE_TYP_WRONG = 9,
  // The issuer of the token is not the configured one.
  DPV_CODE_ISSUER_WRONG = 10,
  // The audience of the token is not the configured one.
  DPV_CODE_AUDIENCE_WRONG = 11,
  // The token has expired.
  DPV_CODE_EXPIRED = 12,
  // The token is not valid yet, or it was issued in the future.
  DPV_CODE_NOT_YET_VALID = 13,
  // The signed claims are not those of a license.
  DPV_CODE_CLAIMS_INVALID = 14,
  // This verifier does not support the major version of the contract of the claims.
  DPV_CODE_CONTRACT_UNSUPPORTED = 15,
  // The license or its token was revoked.
  DPV_CODE_REVOKED = 16,
  // The license is suspended.
  DPV_CODE_SUSPENDED = 17,
  // The status of the token is out of date, and the license requires a current one.
  DPV_CODE_STATUS_STALE = 18,
  // The verifier has no usable keys.
  DPV_CODE_KEYS_UNAVAILABLE = 19,
  // The clock is behind the time of a verified document, and the verifier requires a correct
  // clock.
  DPV_CODE_CLOCK_ANOMALY = 20,
  // The status list or license file is not newer than an imported one.
  DPV_CODE_REPLAYED = 21,
  // The license file is for another license or deployment than the imported ones.
  DPV_CODE_OTHER_LICENSE = 22,
  // The state file could not be written.
  DPV_CODE_STATE_UNWRITABLE = 23,
  // The verifier requires a proof that the token is in the issuer's log, and has none.
  DPV_CODE_PROOF_MISSING = 24,
  // The verifier requires that the token is in the issuer's log, and the log does not have it.
  DPV_CODE_NOT_LOGGED = 25,
  // A proof or checkpoint is malformed, is not signed by the log key, or is for another token.
  DPV_CODE_PROOF_INVALID = 26,
  // The issuer's log is shorter than before.
  DPV_CODE_LOG_ROLLED_BACK = 27,
  // The issuer's log has two histories.
  DPV_CODE_SPLIT_VIEW = 28,
  // The lease has ended: it was released, returned, taken over or reset, or its license is not in
  // force.
  DPV_CODE_LEASE_OVER = 29,
  // The lease has expired.
  DPV_CODE_LEASE_EXPIRED = 30,
  // The lease belongs to another holder.
  DPV_CODE_HOLDER_MISMATCH = 31,
  // The license has no pool with the name that the lease has.
  DPV_CODE_POOL_UNKNOWN = 32,
  // The lease belongs to another license or deployment.
  DPV_CODE_LICENSE_MISMATCH = 33,
  // The settings cannot be used.
  DPV_CODE_SETTINGS_INVALID = 100,
  // An argument cannot be used.
  DPV_CODE_ARGUMENT_INVALID = 101,
  // A request for keys, lists or the log, or a check-in, has failed.
  DPV_CODE_FETCH_FAILED = 102,
  // The usage report cannot be created.
  DPV_CODE_REPORT_INVALID = 103,
  // The control plane did not answer a request about a lease.
  DPV_CODE_UNREACHABLE = 104,
  // The control plane refused a request about a lease. The JSON has its code.
  DPV_CODE_LEASE_REFUSED = 105,
  // A fault of the library.
  DPV_CODE_INTERNAL_ERROR = 199,
} DpvCode;

// The kind of a limit.
typedef enum DpvLimit {
  // The license does not include the metric.
  DPV_LIMIT_NOT_INCLUDED = 0,
  // The license includes at most a number.
  DPV_LIMIT_AT_MOST = 1,
  // The metric has no limit.
  DPV_LIMIT_UNLIMITED = 2,
} DpvLimit;

// A held seat. Freeing it releases the seat, unless it is kept or borrowed.
typedef struct DpvLease DpvLease;

// A client that claims seats, and keeps them by heartbeats.
typedef struct DpvLeases DpvLeases;

// A verified license.
typedef struct DpvLicense DpvLicense;

// A verifier of license tokens of one issuer for one audience.
typedef struct DpvVerifier DpvVerifier;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Returns the name of a code, such as "expired", or "unknown" for another number. The string is static.
const char *dpv_code_name(int32_t code);

// Imports a license file. Writes its contents or the error as JSON.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_import_file(const struct DpvVerifier *verifier,
                             const char *document,
                             char **answer);

// Imports a status list token. Writes its URL and times, or the error, as JSON.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_import_status_list(const struct DpvVerifier *verifier,
                                    const char *document,
                                    char **answer);

// Replaces the configured keys by those of a key set.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_replace_keys(const struct DpvVerifier *verifier,
                              const char *jwks,
                              char **answer);

// Writes the next usage report, a complete file. `counters` and `leases` are JSON objects or NULL.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_usage_report(const struct DpvVerifier *verifier,
                              const char *counters,
                              const char *leases,
                              char **answer);

// Creates a client that holds seats, with the deployment's token or a license key.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_leases_new(const struct DpvVerifier *verifier,
                            const char *credential,
                            struct DpvLeases **leases,
                            char **error);

// Creates a client that holds seats with a license key, also with one from another system.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_leases_of_license_key(const struct DpvVerifier *verifier,
                                       const char *license_key,
                                       struct DpvLeases **leases,
                                       char **error);

// Frees a client of seats.
//
// # Safety
//
// `leases` is NULL, or a live handle that no thread uses any more.
void dpv_leases_free(struct DpvLeases *leases);

// Claims a seat of a pool, and waits for the response, up to 5 seconds. `holder` is a JSON object.
//
// `options` is a JSON object with `label`, `meta`, `ttl`, `borrow`, `take_over` and `token`, or NULL.
// `license` is NULL for the license of the verifier's own token.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_leases_acquire(const struct DpvLeases *leases,
                                const char *pool,
                                const char *holder,
                                const char *options,
                                const struct DpvLicense *license,
                                struct DpvLease **lease,
                                char **error);

// Sends the heartbeats that are due now, and waits for the outcome.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_leases_heartbeat(const struct DpvLeases *leases);

// Returns the use of each pool since the last call as JSON, for dpv_usage_report.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
char *dpv_leases_take_usage(const struct DpvLeases *leases);

// Returns the state of a lease as JSON: `id`, `state`, `code`, `refusal`, `expires_at`, `token` and `lease`.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
char *dpv_lease_json(const struct DpvLease *lease);

// Returns "held", "late", "borrowed", "lost" or "released". The string is static.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
const char *dpv_lease_state(const struct DpvLease *lease);

// Waits until the lease is lost, at most for some milliseconds. Returns whether the holder has no seat any
// more, or the app has released or kept it; true for NULL.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
bool dpv_lease_wait_until_lost(const struct DpvLease *lease,
                               uint64_t milliseconds);

// Borrows the seat. Writes the lease token, or the error as JSON.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_lease_borrow(const struct DpvLease *lease,
                              uint64_t seconds,
                              char **answer);

// Returns a borrowed seat before its end.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_lease_give_back(const struct DpvLease *lease,
                                 char **answer);

// Releases the seat now, and waits for the response.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_lease_release(const struct DpvLease *lease,
                               char **answer);

// Keeps the seat after the handle is freed.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_lease_keep(const struct DpvLease *lease,
                            char **answer);

// Frees a lease, which releases the seat unless it is kept or borrowed.
//
// # Safety
//
// `lease` is NULL, or a live handle that no thread uses any more.
void dpv_lease_free(struct DpvLease *lease);

// Returns the license as a JSON object, as the command dp-verify prints it.
//
// # Safety
//
// `license` is a live handle or NULL.
char *dpv_license_json(const struct DpvLicense *license);

// Returns the state when the license was verified, such as "valid". The string is static.
//
// # Safety
//
// `license` is a live handle or NULL.
const char *dpv_license_state(const struct DpvLicense *license);

// Returns whether a feature is enabled: its value is true, not merely present.
//
// # Safety
//
// `license` is a live handle or NULL, and `name` a string or NULL.
bool dpv_license_has_feature(const struct DpvLicense *license, const char *name);

// Returns the limit of a metric. Writes the number of DPV_LIMIT_AT_MOST, else 0.
//
// # Safety
//
// `license` is a live handle or NULL, `metric` a string or NULL, and `value` writable or NULL.
enum DpvLimit dpv_license_limit(const struct DpvLicense *license,
                                const char *metric,
                                uint64_t *value);

// Frees a license.
//
// # Safety
//
// `license` is NULL, or a live handle that no thread uses any more.
void dpv_license_free(struct DpvLicense *license);

// Frees a string that this library returned.
//
// # Safety
//
// `text` is NULL, or a string of this library that was not freed before.
void dpv_string_free(char *text);

// Writes the content of a state file, except the log, as JSON. `state` is the path of the file.
//
// # Safety
//
// Strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_state_record(const char *state, char **answer);

// Resets times, keys, status lists and license files in a state file, with a reason. Writes the new content.
//
// # Safety
//
// Strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_reset_state(const char *state,
                             const char *because,
                             char **answer);

// Writes the issuer's log in a state file as JSON. `state` is the path of the file.
//
// # Safety
//
// Strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_log_record(const char *state, char **answer);

// Accepts the issuer's log in a state file after a contradiction, with a reason. Writes the new record.
//
// # Safety
//
// Strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_accept_log(const char *state,
                            const char *because,
                            char **answer);

// Returns the version of the ABI, which is 1.
uint32_t dpv_abi_version(void);

// Creates a verifier from a JSON object with settings. Writes the handle, or the error as JSON.
//
// Waits for the first response when the settings name a key set URL.
//
// # Safety
//
// `settings` is a string or NULL, and the out parameters are writable or NULL.
enum DpvCode dpv_verifier_new(const char *settings, struct DpvVerifier **verifier, char **error);

// Frees a verifier, and ends its threads.
//
// # Safety
//
// `verifier` is NULL, or a live handle that no thread uses any more.
void dpv_verifier_free(struct DpvVerifier *verifier);

// Checks a token now. Does no I/O. Writes the license, or the error as JSON.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_verify(const struct DpvVerifier *verifier,
                        const char *token,
                        struct DpvLicense **license,
                        char **error);

// Checks a token at a time, in seconds since 1970.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_verify_at(const struct DpvVerifier *verifier,
                           const char *token,
                           int64_t now,
                           struct DpvLicense **license,
                           char **error);

// Checks a token with a proof that it is in the issuer's log.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_verify_with_proof(const struct DpvVerifier *verifier,
                                   const char *token,
                                   const char *proof,
                                   struct DpvLicense **license,
                                   char **error);

// Returns the license of the data plane's own token: that of a check-in or a license file.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_current(const struct DpvVerifier *verifier,
                         struct DpvLicense **license,
                         char **error);

// Checks a lease token beside its license. `holder` is a JSON object. Writes the lease or the error as JSON.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_verify_lease(const struct DpvVerifier *verifier,
                              const char *lease,
                              const struct DpvLicense *license,
                              const char *holder,
                              char **answer);

// Checks a lease token beside its license at a time, in seconds since 1970.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_verify_lease_at(const struct DpvVerifier *verifier,
                                 const char *lease,
                                 const struct DpvLicense *license,
                                 const char *holder,
                                 int64_t now,
                                 char **answer);

// Fetches keys, status lists and the log now, and waits for the outcome.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_refresh(const struct DpvVerifier *verifier,
                         char **answer);

// Checks in now, and waits for the outcome.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_check_in(const struct DpvVerifier *verifier,
                          char **answer);

// Writes as JSON whether the verifier can judge tokens, with reasons, ages and `http_status`. It has codes
// and numbers only, so a health check may show it.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_readiness(const struct DpvVerifier *verifier,
                           char **answer);

// Writes the details of the verifier's health as JSON, for operators and metrics.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_health(const struct DpvVerifier *verifier,
                        char **answer);

// Sets the clock of a verifier with the setting `fixed_time`, for tests.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_set_fixed_time(const struct DpvVerifier *verifier,
                                int64_t now,
                                char **answer);

// Returns the current state of a license that was admitted earlier, such as "revoked". The string is
// static; NULL for a NULL handle.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
const char *dpv_state_of(const struct DpvVerifier *verifier,
                         const struct DpvLicense *license);

// Returns the data plane's own token, a credential, or NULL without one.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
char *dpv_current_token(const struct DpvVerifier *verifier);

// Waits for the first request for a token's status list, at most some seconds.
//
// # Safety
//
// Handles are live or NULL, strings end with NUL or are NULL, and out parameters are writable or NULL.
enum DpvCode dpv_wait_for_status(const struct DpvVerifier *verifier,
                                 const char *token);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* DPV_H */
