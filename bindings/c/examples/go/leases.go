package dpv

// #include <stdlib.h>
// #include "dpv.h"
import "C"

import (
	"encoding/json"
	"runtime"
)

// Leases claims seats, and keeps them by heartbeats.
type Leases struct {
	handle   *C.DpvLeases
	verifier *Verifier
}

// Lease is a held seat.
type Lease struct{ handle *C.DpvLease }

// Leases returns a client that holds seats, with the deployment's token or a license key.
func (v *Verifier) Leases(credential string) (*Leases, error) {
	text, free := cString(credential)
	defer free()
	var handle *C.DpvLeases
	var failure *C.char
	if code := C.dpv_leases_new(v.handle, text, &handle, &failure); code != C.DPV_CODE_OK {
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
	return &Lease{handle}, nil
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

// State returns held, late, borrowed, lost or released.
func (l *Lease) State() string { return C.GoString(C.dpv_lease_state(l.handle)) }

// JSON reads the lease as the control plane last described it, with its state, end and token.
func (l *Lease) JSON(into any) error {
	text := C.dpv_lease_json(l.handle)
	defer C.dpv_string_free(text)
	return json.Unmarshal([]byte(C.GoString(text)), into)
}

// Release releases the seat now, and waits for the response.
func (l *Lease) Release() error {
	var answer *C.char
	if code := C.dpv_lease_release(l.handle, &answer); code != C.DPV_CODE_OK {
		return failed(answer)
	}
	C.dpv_string_free(answer)
	return nil
}

// Keep keeps the seat after Close.
func (l *Lease) Keep() { C.dpv_lease_keep(l.handle, nil) }

// Close ends the lease, and releases the seat unless it is kept or borrowed.
func (l *Lease) Close() {
	C.dpv_lease_free(l.handle)
	l.handle = nil
}
