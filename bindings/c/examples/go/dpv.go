// Package dpv checks license tokens through the C interface of dp-verifier. Copy dpv.go, leases.go and state.go into
// your application, and build it with CGO_CFLAGS and CGO_LDFLAGS that lead to dpv.h and libdpv.
package dpv

// #cgo LDFLAGS: -ldpv
// #include <stdlib.h>
// #include "dpv.h"
import "C"

import (
	"encoding/json"
	"runtime"
	"strings"
	"sync"
	"unsafe"
)

// Error is a refusal or another failure, with a stable code.
type Error struct {
	Code       string `json:"code"`
	Detail     string `json:"detail"`
	HTTPStatus int    `json:"http_status"`
	Advice     string `json:"advice"`
	State      string `json:"state"`
}

func (e *Error) Error() string { return e.Code + ": " + e.Detail }

// Verifier checks tokens of one issuer for one audience. Any number of goroutines may use it.
type Verifier struct {
	// Close waits for the calls of other goroutines, which use the handle.
	lock   sync.RWMutex
	handle *C.DpvVerifier
}

// License is a verified license.
type License struct{ handle *C.DpvLicense }

// New creates a verifier from settings, which become a JSON object.
func New(settings map[string]any) (*Verifier, error) {
	text, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	given, free := cString(string(text))
	defer free()
	var handle *C.DpvVerifier
	var failure *C.char
	if code := C.dpv_verifier_new(given, &handle, &failure); code != C.DPV_CODE_OK {
		return nil, failed(failure)
	}
	verifier := &Verifier{handle: handle}
	runtime.SetFinalizer(verifier, (*Verifier).Close)
	return verifier, nil
}

// Close ends the threads of the verifier. Later calls return the error argument_invalid.
func (v *Verifier) Close() {
	v.lock.Lock()
	defer v.lock.Unlock()
	C.dpv_verifier_free(v.handle)
	v.handle = nil
}

// Verify checks a token now.
func (v *Verifier) Verify(token string) (*License, error) {
	text, free := cString(token)
	defer free()
	return v.license(func(license **C.DpvLicense, failure **C.char) uint32 {
		return C.dpv_verify(v.handle, text, license, failure)
	})
}

// VerifyAt checks a token at a time, in seconds since 1970.
func (v *Verifier) VerifyAt(token string, now int64) (*License, error) {
	text, free := cString(token)
	defer free()
	return v.license(func(license **C.DpvLicense, failure **C.char) uint32 {
		return C.dpv_verify_at(v.handle, text, C.int64_t(now), license, failure)
	})
}

// VerifyWithProof checks a token with a proof that it is in the issuer's log.
func (v *Verifier) VerifyWithProof(token, proof string) (*License, error) {
	text, free := cString(token)
	defer free()
	given, freeProof := cString(proof)
	defer freeProof()
	return v.license(func(license **C.DpvLicense, failure **C.char) uint32 {
		return C.dpv_verify_with_proof(v.handle, text, given, license, failure)
	})
}

// VerifyLease checks a lease token beside its license.
func (v *Verifier) VerifyLease(lease string, license *License, holder any) (map[string]any, error) {
	return v.lease(lease, holder, func(text, of *C.char, answer **C.char) uint32 {
		defer runtime.KeepAlive(license)
		return C.dpv_verify_lease(v.handle, text, license.handle, of, answer)
	})
}

// VerifyLeaseAt checks a lease token beside its license at a time, in seconds since 1970.
func (v *Verifier) VerifyLeaseAt(lease string, license *License, holder any, now int64) (map[string]any, error) {
	return v.lease(lease, holder, func(text, of *C.char, answer **C.char) uint32 {
		defer runtime.KeepAlive(license)
		return C.dpv_verify_lease_at(v.handle, text, license.handle, of, C.int64_t(now), answer)
	})
}

// ImportFile imports a license file.
func (v *Verifier) ImportFile(document string) (map[string]any, error) {
	text, free := cString(document)
	defer free()
	return v.answer(func(answer **C.char) uint32 {
		return C.dpv_import_file(v.handle, text, answer)
	})
}

// ImportStatusList imports a status list token.
func (v *Verifier) ImportStatusList(document string) (map[string]any, error) {
	text, free := cString(document)
	defer free()
	return v.answer(func(answer **C.char) uint32 {
		return C.dpv_import_status_list(v.handle, text, answer)
	})
}

// ReplaceKeys replaces the configured keys by those of a key set.
func (v *Verifier) ReplaceKeys(jwks string) error {
	text, free := cString(jwks)
	defer free()
	_, err := v.answer(func(answer **C.char) uint32 {
		return C.dpv_replace_keys(v.handle, text, answer)
	})
	return err
}

// Current returns the license of the data plane's own token.
func (v *Verifier) Current() (*License, error) {
	return v.license(func(license **C.DpvLicense, failure **C.char) uint32 {
		return C.dpv_current(v.handle, license, failure)
	})
}

// CurrentToken returns the data plane's own token, a credential, or an empty string.
func (v *Verifier) CurrentToken() string {
	defer runtime.KeepAlive(v)
	v.lock.RLock()
	defer v.lock.RUnlock()
	text := C.dpv_current_token(v.handle)
	defer C.dpv_string_free(text)
	return C.GoString(text)
}

// WaitForStatus waits for the first request for a token's status list, at most some seconds.
func (v *Verifier) WaitForStatus(token string) {
	text, free := cString(token)
	defer free()
	defer runtime.KeepAlive(v)
	v.lock.RLock()
	defer v.lock.RUnlock()
	C.dpv_wait_for_status(v.handle, text)
}

// Refresh fetches keys, status lists and the log now.
func (v *Verifier) Refresh() error {
	_, err := v.answer(func(answer **C.char) uint32 { return C.dpv_refresh(v.handle, answer) })
	return err
}

// CheckIn checks in now.
func (v *Verifier) CheckIn() error {
	_, err := v.answer(func(answer **C.char) uint32 { return C.dpv_check_in(v.handle, answer) })
	return err
}

// Readiness returns whether the verifier can judge tokens, with reasons, ages and http_status. It has codes and
// numbers only, so a health check may show it.
func (v *Verifier) Readiness() (map[string]any, error) {
	return v.answer(func(answer **C.char) uint32 { return C.dpv_readiness(v.handle, answer) })
}

// UsageReport creates the next usage report of the license files' deployment. The leases are the text of
// Leases.TakeUsage, or empty.
func (v *Verifier) UsageReport(counters map[string]any, leases string) (string, error) {
	usage, err := json.Marshal(counters)
	if err != nil {
		return "", err
	}
	given, free := cString(string(usage))
	defer free()
	var seats *C.char
	if leases != "" {
		text, freeLeases := cString(leases)
		defer freeLeases()
		seats = text
	}
	return v.text(func(answer **C.char) uint32 {
		return C.dpv_usage_report(v.handle, given, seats, answer)
	})
}

// Health returns the details of the health, for operators and metrics.
func (v *Verifier) Health() (map[string]any, error) {
	return v.answer(func(answer **C.char) uint32 { return C.dpv_health(v.handle, answer) })
}

// SetFixedTime sets the clock of a verifier with the setting fixed_time, for tests.
func (v *Verifier) SetFixedTime(now int64) error {
	_, err := v.answer(func(answer **C.char) uint32 {
		return C.dpv_set_fixed_time(v.handle, C.int64_t(now), answer)
	})
	return err
}

// StateOf returns the current state of a license that was admitted earlier.
func (v *Verifier) StateOf(license *License) string {
	defer runtime.KeepAlive(license)
	defer runtime.KeepAlive(v)
	v.lock.RLock()
	defer v.lock.RUnlock()
	return C.GoString(C.dpv_state_of(v.handle, license.handle))
}

// State returns the state when the license was verified.
func (l *License) State() string {
	defer runtime.KeepAlive(l)
	return C.GoString(C.dpv_license_state(l.handle))
}

// HasFeature returns whether a feature is enabled.
func (l *License) HasFeature(name string) bool {
	text, free := cString(name)
	defer free()
	defer runtime.KeepAlive(l)
	return bool(C.dpv_license_has_feature(l.handle, text))
}

// Limit returns the kind of a limit (unlimited, at_most or not_included), and the number of at_most.
func (l *License) Limit(metric string) (string, uint64) {
	text, free := cString(metric)
	defer free()
	defer runtime.KeepAlive(l)
	var value C.uint64_t
	switch C.dpv_license_limit(l.handle, text, &value) {
	case C.DPV_LIMIT_UNLIMITED:
		return "unlimited", 0
	case C.DPV_LIMIT_AT_MOST:
		return "at_most", uint64(value)
	default:
		return "not_included", 0
	}
}

// JSON reads the license as the command dp-verify prints it.
func (l *License) JSON(into any) error {
	defer runtime.KeepAlive(l)
	text := C.dpv_license_json(l.handle)
	defer C.dpv_string_free(text)
	return json.Unmarshal([]byte(C.GoString(text)), into)
}

func (v *Verifier) license(call func(**C.DpvLicense, **C.char) uint32) (*License, error) {
	defer runtime.KeepAlive(v)
	v.lock.RLock()
	defer v.lock.RUnlock()
	var handle *C.DpvLicense
	var failure *C.char
	if code := call(&handle, &failure); code != C.DPV_CODE_OK {
		return nil, failed(failure)
	}
	license := &License{handle}
	runtime.SetFinalizer(license, func(l *License) { C.dpv_license_free(l.handle) })
	return license, nil
}

func (v *Verifier) lease(
	lease string, holder any, call func(*C.char, *C.char, **C.char) uint32,
) (map[string]any, error) {
	person, err := json.Marshal(holder)
	if err != nil {
		return nil, err
	}
	text, free := cString(lease)
	defer free()
	of, freeHolder := cString(string(person))
	defer freeHolder()
	return v.answer(func(answer **C.char) uint32 { return call(text, of, answer) })
}

func (v *Verifier) answer(call func(**C.char) uint32) (map[string]any, error) {
	return members(v.text(call))
}

func (v *Verifier) text(call func(**C.char) uint32) (string, error) {
	defer runtime.KeepAlive(v)
	v.lock.RLock()
	defer v.lock.RUnlock()
	return answered(call)
}

func answered(call func(**C.char) uint32) (string, error) {
	var text *C.char
	if code := call(&text); code != C.DPV_CODE_OK {
		return "", failed(text)
	}
	defer C.dpv_string_free(text)
	return C.GoString(text), nil
}

func members(text string, err error) (map[string]any, error) {
	if err != nil {
		return nil, err
	}
	answer := map[string]any{}
	return answer, json.Unmarshal([]byte(text), &answer)
}

func failed(text *C.char) error {
	defer C.dpv_string_free(text)
	failure := &Error{}
	if err := json.Unmarshal([]byte(C.GoString(text)), failure); err != nil {
		return err
	}
	return failure
}

// A C string ends at its first NUL. A token with NUL must not become a shorter, genuine one.
func cString(text string) (*C.char, func()) {
	copied := C.CString(strings.ReplaceAll(text, "\x00", "\uFFFD"))
	return copied, func() { C.free(unsafe.Pointer(copied)) }
}
