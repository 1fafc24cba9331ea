package dpv

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
)

const vectors = "../../../../cp-contracts/vectors"

type object = map[string]any

type vector struct {
	Name     string
	Settings object
	Now      int64
	Build    object
	Steps    []object
}

func suite(t *testing.T) []vector {
	files, _ := filepath.Glob(filepath.Join(vectors, "*.json"))
	var all []vector
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		content := struct {
			Format  int
			Vectors []vector
		}{}
		if err := json.Unmarshal(text, &content); err != nil || content.Format != 1 {
			t.Fatal(file, err)
		}
		all = append(all, content.Vectors...)
	}
	if len(all) < 300 {
		t.Fatal("the suite is incomplete")
	}
	return all
}

func genuineSettings(t *testing.T) (object, string) {
	for _, v := range suite(t) {
		if v.Name == "genuine_token_is_admitted" {
			v.Settings["fixed_time"] = v.Now
			return v.Settings, v.Steps[0]["token"].(string)
		}
	}
	t.Fatal("there is no genuine token")
	return nil, ""
}

func genuine(t *testing.T) (*Verifier, string) {
	settings, token := genuineSettings(t)
	verifier, err := New(settings)
	if err != nil {
		t.Fatal(err)
	}
	return verifier, token
}

func TestConformance(t *testing.T) {
	for _, v := range suite(t) {
		v := v
		t.Run(v.Name, func(t *testing.T) { runVector(t, v) })
	}
}

func runVector(t *testing.T, v vector) {
	settings, folder := v.Settings, t.TempDir()
	settings["fixed_time"] = v.Now
	state := filepath.Join(folder, "state.json")
	if settings["state_file"] == true {
		delete(settings, "state_file")
		settings["state_path"] = state
	}
	if file, isSet := settings["license_file"].(string); isSet {
		delete(settings, "license_file")
		path := filepath.Join(folder, "license.lic")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		settings["bundle_file"] = path
	}
	var verifier *Verifier
	build := func() (object, error) {
		var err error
		verifier, err = New(settings)
		return nil, err
	}
	compare(t, "build", v.Build, outcome(build))
	for _, step := range v.Steps {
		step := step
		text := func(name string) string { text, _ := step[name].(string); return text }
		var result object
		switch step["do"] {
		case "restart":
			verifier.Close()
			result = outcome(build)
		case "set_time":
			settings["fixed_time"] = int64(step["now"].(float64))
			result = outcome(func() (object, error) {
				return nil, verifier.SetFixedTime(int64(step["now"].(float64)))
			})
		case "damage_state_file":
			result = outcome(func() (object, error) { return nil, os.WriteFile(state, []byte("{"), 0o600) })
		case "replace_keys":
			jwks, _ := json.Marshal(step["jwks"])
			result = outcome(func() (object, error) { return nil, verifier.ReplaceKeys(string(jwks)) })
		case "import_file":
			result = outcome(func() (object, error) { return verifier.ImportFile(text("document")) })
		case "import_status_list":
			result = outcome(func() (object, error) { return verifier.ImportStatusList(text("document")) })
		case "verify":
			result = outcome(func() (object, error) { return described(verifier.Verify(text("token"))) })
		case "verify_with_proof":
			result = outcome(func() (object, error) {
				return described(verifier.VerifyWithProof(text("token"), text("proof")))
			})
		case "verify_lease":
			result = outcome(func() (object, error) {
				license, err := verifier.Verify(text("token"))
				if at, isSet := step["license_at"].(float64); isSet {
					license, err = verifier.VerifyAt(text("token"), int64(at))
				}
				if err != nil {
					return nil, err
				}
				return verifier.VerifyLease(text("lease"), license, step["holder"])
			})
		default:
			t.Fatalf("the step %v is not known", step["do"])
		}
		compare(t, text("do"), step["expect"].(object), result)
	}
}

func described(license *License, err error) (object, error) {
	if err != nil {
		return nil, err
	}
	body, limits := object{}, object{}
	for _, metric := range []string{"max_workspaces", "api_calls_per_month", "projects", "seats_extra"} {
		limits[metric] = nil
		if kind, value := license.Limit(metric); kind == "at_most" {
			limits[metric] = float64(value)
		} else {
			limits[metric] = kind
		}
	}
	err = license.JSON(&body)
	return object{
		"state": license.State(), "license": body, "limits": limits, "log_index": body["log_index"],
	}, err
}

func outcome(run func() (object, error)) object {
	members, err := run()
	var failure *Error
	if errors.As(err, &failure) {
		return object{"ok": false, "code": failure.Code}
	}
	result := object{"ok": err == nil}
	for name, value := range members {
		result[name] = value
	}
	return result
}

func compare(t *testing.T, at string, expected, actual object) {
	t.Helper()
	if !includes(actual, expected) {
		t.Fatalf("%s: %v must include %v", at, actual, expected)
	}
}

func includes(actual, expected any) bool {
	members, isObject := expected.(object)
	own, isSame := actual.(object)
	if !isObject || !isSame {
		return reflect.DeepEqual(actual, expected)
	}
	for name, value := range members {
		if found, exists := own[name]; !exists || !includes(found, value) {
			return false
		}
	}
	return true
}

func TestRefusalHasCodeAndAdvice(t *testing.T) {
	verifier, token := genuine(t)
	_, err := verifier.Verify(token + "=")
	var refused *Error
	if !errors.As(err, &refused) || refused.Code != "token_malformed" || refused.HTTPStatus != 401 {
		t.Fatal(err)
	}
	if refused.Advice == "" {
		t.Fatal("the refusal has no advice")
	}
	if _, err := New(object{"isuer": "x"}); err == nil {
		t.Fatal("an unknown setting must be refused")
	}
}

func TestGoroutinesShareAVerifier(t *testing.T) {
	verifier, token := genuine(t)
	var all sync.WaitGroup
	for n := 0; n < 8; n++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for m := 0; m < 500; m++ {
				license, err := verifier.Verify(token)
				if err != nil || license.State() != "valid" || !license.HasFeature("alerts_enabled") {
					t.Error(err)
					return
				}
			}
		}()
	}
	all.Wait()
	license, _ := verifier.VerifyAt(token, 1_768_000_000)
	if verifier.SetFixedTime(2_000_000_000) != nil || verifier.StateOf(license) != "expired" {
		t.Fatal("an expired license must be in the state expired")
	}
}

func TestStringWithNulIsNotShortened(t *testing.T) {
	verifier, token := genuine(t)
	_, err := verifier.Verify(token + "\x00=")
	var refused *Error
	if !errors.As(err, &refused) || refused.Code != "token_malformed" {
		t.Fatal("a token with NUL must be refused", err)
	}
	if _, err = verifier.Verify(token + "\xff"); !errors.As(err, &refused) || refused.Code != "token_malformed" {
		t.Fatal("a token with wrong UTF-8 must be refused as malformed", err)
	}
	license, err := verifier.Verify(token)
	if err != nil || license.HasFeature("alerts_enabled\x00") {
		t.Fatal("a feature with NUL must not be enabled", err)
	}
}

func TestClosedVerifierReturnsErrors(t *testing.T) {
	verifier, token := genuine(t)
	license, _ := verifier.Verify(token)
	var all sync.WaitGroup
	for n := 0; n < 8; n++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for m := 0; m < 500; m++ {
				_, err := verifier.Verify(token)
				var closed *Error
				if err != nil && (!errors.As(err, &closed) || closed.Code != "argument_invalid") {
					t.Error(err)
				}
			}
		}()
	}
	verifier.Close()
	all.Wait()
	verifier.Close()
	if _, err := verifier.Verify(token); err == nil || verifier.StateOf(license) != "" || license.State() != "valid" {
		t.Fatal("a closed verifier must check nothing", err)
	}
}

func TestReadiness(t *testing.T) {
	verifier, _ := genuine(t)
	readiness, err := verifier.Readiness()
	if err != nil || readiness["ready"] != true || readiness["http_status"] != 200.0 {
		t.Fatal("a verifier with keys must be ready", readiness, err)
	}
	_, err = verifier.UsageReport(object{"api_calls": 1}, "")
	var refused *Error
	if !errors.As(err, &refused) || refused.Code != "report_invalid" {
		t.Fatal("a report requires a license file", err)
	}
}

func TestOperatorResetsAStateFile(t *testing.T) {
	settings, _ := genuineSettings(t)
	state := filepath.Join(t.TempDir(), "state.json")
	var refused *Error
	if _, err := StateRecord(state); !errors.As(err, &refused) || refused.Code != "settings_invalid" {
		t.Fatal("a missing file must be refused", err)
	}
	settings["state_path"] = state
	verifier, err := New(settings)
	if err != nil {
		t.Fatal(err)
	}
	verifier.Close()
	if _, err := ResetState(state, " "); !errors.As(err, &refused) || refused.Code != "argument_invalid" {
		t.Fatal("a reset requires a reason", err)
	}
	if record, err := ResetState(state, "a test"); err != nil || len(record["former"].([]any)) != 1 {
		t.Fatal("the former content must stay", record, err)
	}
	if record, err := LogRecord(state); err != nil || record["key"] != nil {
		t.Fatal("the file must have no log", record, err)
	}
	if _, err := AcceptLog(state, "a test"); !errors.As(err, &refused) || refused.Code != "settings_invalid" {
		t.Fatal("a file without a log must be refused", err)
	}
}
