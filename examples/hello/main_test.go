package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func get(t *testing.T, log io.Writer, path, requestID string) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, path, nil)
	if requestID != "" {
		request.Header.Set(requestIDHeader, requestID)
	}
	recorder := httptest.NewRecorder()
	newHandler(slog.New(slog.NewJSONHandler(log, nil)), "testhost").ServeHTTP(recorder, request)
	return recorder
}

func TestGreeting(t *testing.T) {
	const id = "b6c2b8b6-1f0f-4c57-a3a4-0d8e0b6b1a11"
	answer := get(t, io.Discard, "/", id)
	if answer.Code != http.StatusOK {
		t.Fatalf("status %d, want 200", answer.Code)
	}
	if kind := answer.Header().Get("Content-Type"); kind != "application/json" {
		t.Errorf("content type %q, want application/json", kind)
	}
	var got Greeting
	if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := Greeting{Message: "hello from lighter", Host: "testhost", RequestID: id}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("greeting (-want +got):\n%s", diff)
	}
}

func TestRequestIDIsMadeUp(t *testing.T) {
	for _, sent := range []string{"", "not a uuid"} {
		answer := get(t, io.Discard, "/", sent)
		if _, err := uuid.Parse(answer.Header().Get(requestIDHeader)); err != nil {
			t.Errorf("sent %q: %v", sent, err)
		}
	}
}

func TestHealth(t *testing.T) {
	answer := get(t, io.Discard, "/healthz", "")
	if answer.Code != http.StatusOK || answer.Body.String() != "{\"status\":\"ok\"}\n" {
		t.Errorf("got %d %q", answer.Code, answer.Body)
	}
}

func TestNotFoundIsLogged(t *testing.T) {
	var log bytes.Buffer
	if answer := get(t, &log, "/nowhere", ""); answer.Code != http.StatusNotFound {
		t.Errorf("status %d, want 404", answer.Code)
	}
	var line struct {
		Path   string
		Status int
	}
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line.Path != "/nowhere" || line.Status != http.StatusNotFound {
		t.Errorf("logged %s", log.String())
	}
}

func TestRunStopsWhenTold(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, slog.New(slog.NewJSONHandler(io.Discard, nil)), "127.0.0.1:0")
	}()
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("still running")
	}
}
