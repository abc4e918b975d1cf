package finesieve

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// callOnce gives a call that is no stream its deadline, and its failure our own type.
func callOnce(timeout time.Duration) grpc.UnaryClientInterceptor {
	return func(
		ctx context.Context, method string, request, answer any,
		conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
	) error {
		if _, set := ctx.Deadline(); !set && timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		var trailer metadata.MD
		err := invoke(ctx, method, request, answer, conn, append(options, grpc.Trailer(&trailer))...)
		return errorOfCall(err, trailer)
	}
}

// openStream gives a stream's failures our own type.
func openStream(
	ctx context.Context, description *grpc.StreamDesc, conn *grpc.ClientConn,
	method string, open grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	opened, err := open(ctx, description, conn, method, options...)
	if err != nil {
		return nil, errorOfCall(err, nil)
	}
	return stream{opened}, nil
}

type stream struct {
	grpc.ClientStream
}

func (s stream) RecvMsg(message any) error {
	err := s.ClientStream.RecvMsg(message)
	if err == nil {
		return nil
	}
	return errorOfCall(err, s.Trailer()) // there is a trailer once receiving has failed, not before
}

func (s stream) SendMsg(message any) error {
	return errorOfCall(s.ClientStream.SendMsg(message), nil)
}

func (s stream) Header() (metadata.MD, error) {
	header, err := s.ClientStream.Header()
	return header, errorOfCall(err, nil)
}
