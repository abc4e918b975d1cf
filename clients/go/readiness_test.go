package finesieve_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func TestWaitingEndsOnceTheServerTakesCalls(t *testing.T) {
	server, address := serve(t, well)
	server.health.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	client := connect(t, address)
	ready := make(chan error, 1)
	go func() { ready <- client.WaitReady(t.Context()) }()

	select {
	case err := <-ready:
		t.Fatalf("before the server was ready: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	server.health.SetServingStatus("", grpc_health_v1.HealthCheckResponse_SERVING)

	if err := <-ready; err != nil {
		t.Error(err)
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	server, address := serve(t, well)
	server.health.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	for name, target := range map[string]string{"loading": address, "nobody there": "127.0.0.1:1"} {
		client := connect(t, target)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()

		err := client.WaitReady(ctx)

		if status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), target) {
			t.Errorf("%s: %v", name, err)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := connect(t, address).WaitReady(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
