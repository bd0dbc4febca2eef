// Command hello is a small HTTP service: a greeting, a health check, and nothing to configure
// but the address in ADDR.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
)

const (
	defaultAddr     = ":8080"
	headerTimeout   = 5 * time.Second
	shutdownTimeout = 10 * time.Second
	requestIDHeader = "X-Request-Id"
)

// Greeting is the answer to GET /.
type Greeting struct {
	Message   string `json:"message"`
	Host      string `json:"host"`
	RequestID string `json:"request_id"`
}

// newHandler returns the service's routes; every request is logged to log.
func newHandler(log *slog.Logger, host string) http.Handler {
	r := chi.NewRouter()
	r.Use(withRequestID, withLog(log))
	r.Get("/", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, Greeting{
			Message:   "hello from lighter",
			Host:      host,
			RequestID: w.Header().Get(requestIDHeader),
		})
	})
	r.Get("/healthz", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, map[string]string{"status": "ok"})
	})
	return r
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	// The status is out already; a client that went away is not our error.
	_ = json.NewEncoder(w).Encode(v)
}

// withRequestID answers with the caller's request id when it is a UUID, else with a new one.
func withRequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := uuid.Parse(r.Header.Get(requestIDHeader))
		if err != nil {
			id = uuid.New()
		}
		w.Header().Set(requestIDHeader, id.String())
		next.ServeHTTP(w, r)
	})
}

// statusRecorder remembers the status that a handler wrote.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (s *statusRecorder) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

func withLog(log *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			rec := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
			next.ServeHTTP(rec, r)
			log.Info("request",
				"method", r.Method,
				"path", r.URL.Path,
				"status", rec.status,
				"duration", time.Since(start).String(),
				"request_id", w.Header().Get(requestIDHeader))
		})
	}
}

// run serves on addr until ctx is done, then lets the requests under way finish.
func run(ctx context.Context, log *slog.Logger, addr string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: newHandler(log, host), ReadHeaderTimeout: headerTimeout}

	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	log.Info("listening", "addr", listener.Addr().String())

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("shutting down")
	stopping, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil {
		return err
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	addr := os.Getenv("ADDR")
	if addr == "" {
		addr = defaultAddr
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, log, addr); err != nil {
		log.Error("stopped", "error", err.Error())
		os.Exit(1)
	}
	log.Info("stopped")
}
