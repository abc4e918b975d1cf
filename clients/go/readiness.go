package finesieve

import (
	"context"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

const (
	readyTimeout = 60 * time.Second
	// watchPause is before watching again, where a server that starts or stops ended the watch.
	watchPause = 200 * time.Millisecond
)

// WaitReady returns once the server is reachable and takes calls. It waits until the context's
// deadline, a minute where there is none, and then returns an *Error with codes.DeadlineExceeded.
func (c *Client) WaitReady(ctx context.Context) error {
	if _, set := ctx.Deadline(); !set {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, readyTimeout)
		defer cancel()
	}
	begin := time.Now()
	for {
		err := c.watchReady(ctx)
		switch {
		case err == nil:
			return nil
		case err == io.EOF, status.Code(err) == codes.Unavailable:
			// A server that starts or stops; it may be ready later.
		case status.Code(err) == codes.DeadlineExceeded:
			waited := time.Since(begin).Round(time.Millisecond)
			return newError(status.New(codes.DeadlineExceeded, fmt.Sprintf(
				"the server at %s was not ready within %s: %s",
				c.conn.Target(), waited, status.Convert(err).Message(),
			)))
		default:
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(watchPause):
		}
	}
}

// watchReady returns nil when the server says that it takes calls, else why the watch ended.
func (c *Client) watchReady(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	health := grpc_health_v1.NewHealthClient(c.conn)
	answers, err := health.Watch(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	for {
		answer, err := answers.Recv()
		if err != nil {
			return err
		}
		if answer.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING {
			return nil
		}
	}
}
