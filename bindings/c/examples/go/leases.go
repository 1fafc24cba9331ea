package dpv

// #include <stdlib.h>
// #include "dpv.h"
import "C"

import (
	"encoding/json"
	"runtime"
	"sync"
	"time"
)

// Leases claims seats, and keeps them by heartbeats.
type Leases struct {
	handle   *C.DpvLeases
	verifier *Verifier
}

// Lease is a held seat. Any number of goroutines may use it.
type Lease struct {
	// Close waits for the calls of other goroutines, which use the handle.
	lock   sync.RWMutex
	handle *C.DpvLease
}

// Leases returns a client that holds seats, with the deployment's token or a license key.
func (v *Verifier) Leases(credential string) (*Leases, error) {
	return v.leases(credential, func(text *C.char, handle **C.DpvLeases, failure **C.char) uint32 {
		return C.dpv_leases_new(v.handle, text, handle, failure)
	})
}

// LeasesOfLicenseKey returns a client that holds seats with a license key, also with one from another system.
func (v *Verifier) LeasesOfLicenseKey(licenseKey string) (*Leases, error) {
	return v.leases(licenseKey, func(text *C.char, handle **C.DpvLeases, failure **C.char) uint32 {
		return C.dpv_leases_of_license_key(v.handle, text, handle, failure)
	})
}

func (v *Verifier) leases(
	credential string, call func(*C.char, **C.DpvLeases, **C.char) uint32,
) (*Leases, error) {
	text, free := cString(credential)
	defer free()
	v.lock.RLock()
	defer v.lock.RUnlock()
	var handle *C.DpvLeases
	var failure *C.char
	if code := call(text, &handle, &failure); code != C.DPV_CODE_OK {
		return nil, failed(failure)
	}
	leases := &Leases{handle, v}
	runtime.SetFinalizer(leases, func(l *Leases) { C.dpv_leases_free(l.handle) })
	return leases, nil
}

// Acquire claims a seat of a pool for a holder, and waits for the response. The license is nil for that
// of the verifier's own token, and the options are nil without any.
func (l *Leases) Acquire(pool string, holder, options map[string]any, license *License) (*Lease, error) {
	defer runtime.KeepAlive(l)
	defer runtime.KeepAlive(license)
	person, err := json.Marshal(holder)
	if err != nil {
		return nil, err
	}
	given, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	name, free := cString(pool)
	defer free()
	of, freeHolder := cString(string(person))
	defer freeHolder()
	with, freeOptions := cString(string(given))
	defer freeOptions()
	var own *C.DpvLicense
	if license != nil {
		own = license.handle
	}
	var handle *C.DpvLease
	var failure *C.char
	code := C.dpv_leases_acquire(l.handle, name, of, with, own, &handle, &failure)
	if code != C.DPV_CODE_OK {
		return nil, failed(failure)
	}
	return &Lease{handle: handle}, nil
}

// SendHeartbeats sends the heartbeats that are due now.
func (l *Leases) SendHeartbeats() {
	defer runtime.KeepAlive(l)
	C.dpv_leases_heartbeat(l.handle)
}

// TakeUsage returns the use of each pool since the last call, as the JSON for a usage report.
func (l *Leases) TakeUsage() string {
	defer runtime.KeepAlive(l)
	text := C.dpv_leases_take_usage(l.handle)
	defer C.dpv_string_free(text)
	return C.GoString(text)
}

// State returns held, late, borrowed, lost or released; lost after Close.
func (l *Lease) State() string {
	l.lock.RLock()
	defer l.lock.RUnlock()
	return C.GoString(C.dpv_lease_state(l.handle))
}

// JSON reads the lease as the control plane last described it, with its state, end, token and refusal.
func (l *Lease) JSON(into any) error {
	l.lock.RLock()
	defer l.lock.RUnlock()
	text := C.dpv_lease_json(l.handle)
	defer C.dpv_string_free(text)
	return json.Unmarshal([]byte(C.GoString(text)), into)
}

// WaitUntilLost waits until the lease is lost, at most for a time. It returns whether the holder has no seat any more,
// or the application has released or kept it.
func (l *Lease) WaitUntilLost(limit time.Duration) bool {
	l.lock.RLock()
	defer l.lock.RUnlock()
	return bool(C.dpv_lease_wait_until_lost(l.handle, C.uint64_t(atLeastZero(limit).Milliseconds())))
}

// Borrow borrows the seat, and returns the lease token.
func (l *Lease) Borrow(limit time.Duration) (string, error) {
	return l.text(func(answer **C.char) uint32 {
		return C.dpv_lease_borrow(l.handle, C.uint64_t(atLeastZero(limit).Seconds()), answer)
	})
}

// GiveBack returns a borrowed seat before its end.
func (l *Lease) GiveBack() error {
	_, err := l.text(func(answer **C.char) uint32 { return C.dpv_lease_give_back(l.handle, answer) })
	return err
}

// Release releases the seat now, and waits for the response.
func (l *Lease) Release() error {
	_, err := l.text(func(answer **C.char) uint32 { return C.dpv_lease_release(l.handle, answer) })
	return err
}

// Keep keeps the seat after Close.
func (l *Lease) Keep() {
	l.lock.RLock()
	defer l.lock.RUnlock()
	C.dpv_lease_keep(l.handle, nil)
}

// Close waits for running calls and ends the lease, and releases the seat unless it is kept or borrowed.
func (l *Lease) Close() {
	l.lock.Lock()
	defer l.lock.Unlock()
	C.dpv_lease_free(l.handle)
	l.handle = nil
}

// A negative time would become a very long one.
func atLeastZero(limit time.Duration) time.Duration {
	if limit < 0 {
		return 0
	}
	return limit
}

func (l *Lease) text(call func(**C.char) uint32) (string, error) {
	l.lock.RLock()
	defer l.lock.RUnlock()
	return answered(call)
}
