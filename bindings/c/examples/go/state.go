package dpv

// #include <stdlib.h>
// #include "dpv.h"
import "C"

// StateRecord returns the content of a state file, except the log.
func StateRecord(state string) (map[string]any, error) {
	path, free := cString(state)
	defer free()
	return members(answered(func(answer **C.char) uint32 { return C.dpv_state_record(path, answer) }))
}

// ResetState resets times, keys, status lists and license files in a state file, with a reason. It returns the new
// content.
func ResetState(state, because string) (map[string]any, error) {
	path, free := cString(state)
	defer free()
	reason, freeReason := cString(because)
	defer freeReason()
	return members(answered(func(answer **C.char) uint32 { return C.dpv_reset_state(path, reason, answer) }))
}

// LogRecord returns the issuer's log in a state file.
func LogRecord(state string) (map[string]any, error) {
	path, free := cString(state)
	defer free()
	return members(answered(func(answer **C.char) uint32 { return C.dpv_log_record(path, answer) }))
}

// AcceptLog accepts the issuer's log in a state file after a contradiction, with a reason. It returns the new record.
func AcceptLog(state, because string) (map[string]any, error) {
	path, free := cString(state)
	defer free()
	reason, freeReason := cString(because)
	defer freeReason()
	return members(answered(func(answer **C.char) uint32 { return C.dpv_accept_log(path, reason, answer) }))
}
