package dpv

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// controlPlane returns the URL of a control plane, which ends with the test.
func controlPlane(t *testing.T) string {
	server := exec.Command("python3", "../../../tests/control_plane.py")
	server.Stderr = os.Stderr
	input, _ := server.StdinPipe()
	output, _ := server.StdoutPipe()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = input.Close()
		_ = server.Wait()
	})
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func TestOwnTokenAndLeases(t *testing.T) {
	url := controlPlane(t)
	settings, token := genuineSettings(t)
	delete(settings, "jwks")
	settings["jwks_url"] = url + "/jwks.json"
	settings["check_in"] = object{
		"url":        url + "/api/v1/deployments/018f2a00-0000-7000-8000-000000000003/check-in",
		"credential": "cpat_token",
	}
	verifier, err := New(settings)
	if err != nil {
		t.Fatal(err)
	}
	license, err := verifier.Current()
	if err != nil || license.State() != "valid" || verifier.CurrentToken() != token {
		t.Fatal("the check-in must bring the token", err)
	}
	if err := verifier.CheckIn(); err != nil {
		t.Fatal(err)
	}
	verifier.WaitForStatus(token)
	seats, err := verifier.Leases("cpat_token")
	if err != nil {
		t.Fatal(err)
	}
	first, err := seats.Acquire("seats", object{"id": "session-1"}, object{"label": "first"}, nil)
	if err != nil || first.State() != "held" {
		t.Fatal("the first seat must be held", err)
	}
	second, err := seats.Acquire("seats", object{"text": "machine-2"}, nil, license)
	if err != nil {
		t.Fatal(err)
	}
	_, err = seats.Acquire("seats", object{"email": "ada@example.com"}, nil, nil)
	var refused *Error
	if !errors.As(err, &refused) || refused.Code != "seats_exhausted" || refused.HTTPStatus != 409 {
		t.Fatal("the third seat must be refused", err)
	}
	_, err = seats.Acquire("refuse-ok", object{"id": "session-2"}, nil, nil)
	if !errors.As(err, &refused) || refused.Code != "ok" || refused.HTTPStatus != 409 {
		t.Fatal("a refusal must not become a success", err)
	}
	if first.WaitUntilLost(20 * time.Millisecond) {
		t.Fatal("the first seat must still be held")
	}
	body := object{}
	if err := first.JSON(&body); err != nil || body["lease"].(object)["label"] != "first" {
		t.Fatal("the lease must have its label", body, err)
	}
	if err := first.Release(); err != nil || first.State() != "released" {
		t.Fatal("the first seat must be released", err)
	}
	if !first.WaitUntilLost(time.Minute) {
		t.Fatal("a released seat must end the wait")
	}
	if text, err := second.Borrow(time.Hour); err != nil || text != "lease-token" || second.State() != "borrowed" {
		t.Fatal("the second seat must be borrowed", text, err)
	}
	if _, err := verifier.LeasesOfLicenseKey("IMPORTED-7"); err != nil {
		t.Fatal(err)
	}
	second.Keep()
	seats.SendHeartbeats()
	if !strings.Contains(seats.TakeUsage(), `"peak":2`) {
		t.Fatal("two seats were in use")
	}
	first.Close()
	second.Close()
}
