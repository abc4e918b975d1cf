package finesieve_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	finesieve "github.com/finesieve/finesieve/clients/go"
	finesievev1 "github.com/finesieve/finesieve/clients/go/finesieve/v1"
)

func well(context.Context) error { return nil }

func search(ctx context.Context, client *finesieve.Client) error {
	_, err := client.Search(ctx, &finesievev1.SearchRequest{Collection: "docs", Query: "why"})
	return err
}

func TestACallHasTheClientsDeadlineWhereItsContextHasNone(t *testing.T) {
	server, address := serve(t, well)
	client := connect(t, address, finesieve.WithTimeout(7*time.Second))

	if err := search(t.Context(), client); err != nil {
		t.Fatal(err)
	}

	left, set := server.timeLeft()
	if !set || left < 5*time.Second || left > 7*time.Second {
		t.Errorf("the server saw %s, %t", left, set)
	}
}

func TestAContextsDeadlineIsItsCalls(t *testing.T) {
	server, address := serve(t, well)
	client := connect(t, address)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	if err := search(ctx, client); err != nil {
		t.Fatal(err)
	}

	if left, _ := server.timeLeft(); left < finesieve.DefaultTimeout {
		t.Errorf("the server saw %s", left)
	}
}

func TestAStreamHasNoDeadlineOfTheClients(t *testing.T) {
	server, address := serve(t, well)
	client := connect(t, address)
	stream, err := client.StreamRerank(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	_, err = stream.Recv()

	if err != io.EOF {
		t.Fatalf("a stream that ended well: %v", err)
	}
	if left, set := server.timeLeft(); set {
		t.Errorf("the server saw a deadline, %s", left)
	}
}

func TestATimeoutOfZeroIsNone(t *testing.T) {
	server, address := serve(t, well)
	client := connect(t, address, finesieve.WithTimeout(0))

	if err := search(t.Context(), client); err != nil {
		t.Fatal(err)
	}

	if left, set := server.timeLeft(); set {
		t.Errorf("the server saw a deadline, %s", left)
	}
}

// overloaded is an error with every detail that a server of ours gives.
func overloaded(t *testing.T) error {
	t.Helper()
	found, err := status.New(codes.ResourceExhausted, "the queue is full").WithDetails(
		&errdetails.ErrorInfo{Reason: "OVERLOADED", Metadata: map[string]string{"limit": "64"}},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: "passages[3].id", Description: "is empty"},
		}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(250 * time.Millisecond)},
		&errdetails.RequestInfo{RequestId: "r1"},
	)
	if err != nil {
		t.Fatal(err)
	}
	return found.Err()
}

func checkOverloaded(t *testing.T, err error) {
	t.Helper()
	var failed *finesieve.Error
	if !errors.As(err, &failed) {
		t.Fatalf("%T is no Error", err)
	}
	if failed.Code != codes.ResourceExhausted || failed.Reason != "OVERLOADED" ||
		failed.Message != "the queue is full" || failed.Metadata["limit"] != "64" ||
		failed.RequestID != "r1" {
		t.Errorf("%+v", failed)
	}
	if len(failed.Violations) != 1 ||
		failed.Violations[0] != (finesieve.Violation{Field: "passages[3].id", Description: "is empty"}) {
		t.Errorf("violations: %+v", failed.Violations)
	}
	if failed.RetryDelay == nil || *failed.RetryDelay != 250*time.Millisecond {
		t.Errorf("retry delay: %v", failed.RetryDelay)
	}
	if found, ok := status.FromError(err); !ok || len(found.Details()) != 4 {
		t.Errorf("the status is not as it came: %v, %t", found, ok)
	}
	if want := "finesieve: ResourceExhausted (OVERLOADED): the queue is full"; err.Error() != want {
		t.Errorf("reads %q, not %q", err, want)
	}
}

func TestAnErrorTellsAllThatTheServerDid(t *testing.T) {
	failure := overloaded(t)
	_, address := serve(t, func(ctx context.Context) error {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", "-1"))
		return failure
	})
	client := connect(t, address)

	checkOverloaded(t, search(t.Context(), client))
}

func TestAStreamsErrorTellsAllThatTheServerDid(t *testing.T) {
	failure := overloaded(t)
	_, address := serve(t, func(context.Context) error { return failure })
	client := connect(t, address)
	stream, err := client.StreamRerank(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	_, err = stream.Recv()

	checkOverloaded(t, err)
}

func TestTheRequestIDOfTheTrailerCountsWhereNoDetailHasOne(t *testing.T) {
	_, address := serve(t, func(ctx context.Context) error {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-request-id", "r2"))
		return status.Error(codes.Internal, "our fault")
	})
	client := connect(t, address)
	stream, err := client.StreamRerank(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, ofStream := stream.Recv()

	for _, err := range []error{search(t.Context(), client), ofStream} {
		var failed *finesieve.Error
		if !errors.As(err, &failed) || failed.RequestID != "r2" {
			t.Errorf("%+v", failed)
		}
	}
}

func TestACallThatItsContextEndedIsFoundAsThat(t *testing.T) {
	_, address := serve(t, func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	client := connect(t, address)
	late, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()

	if err := search(late, client); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("late: %v", err)
	}
	if err := search(cancelled, client); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// busy answers UNAVAILABLE with a pushback, in milliseconds.
func busy(pushback string) func(context.Context) error {
	return func(ctx context.Context) error {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", pushback))
		return status.Error(codes.Unavailable, "later")
	}
}

func TestACallThatMayBeRepeatedIsTriedFourTimes(t *testing.T) {
	server, address := serve(t, busy("1"))
	client := connect(t, address)

	err := search(t.Context(), client)

	if want := "finesieve: Unavailable: later"; err == nil || err.Error() != want || server.numCalls() != 4 {
		t.Errorf("%d calls: %v", server.numCalls(), err)
	}
}

func TestALargeCallIsRepeatedToo(t *testing.T) {
	server, address := serve(t, busy("1"))
	client := connect(t, address)

	_, err := client.Search(t.Context(), &finesievev1.SearchRequest{Query: strings.Repeat("why", 1<<20)})

	if status.Code(err) != codes.Unavailable || server.numCalls() != 4 {
		t.Errorf("%d calls: %v", server.numCalls(), err)
	}
}

func TestACallIsNotRepeatedAgainstTheServersWish(t *testing.T) {
	server, address := serve(t, busy("-1"))
	client := connect(t, address)

	err := search(t.Context(), client)

	if status.Code(err) != codes.Unavailable || server.numCalls() != 1 {
		t.Errorf("%d calls: %v", server.numCalls(), err)
	}
}

func TestWhatMayNotBeRepeatedIsTriedOnce(t *testing.T) {
	server, address := serve(t, busy("1"))
	client := connect(t, address)

	_, err := client.CreateCollection(t.Context(), &finesievev1.CreateCollectionRequest{Name: "docs"})

	if status.Code(err) != codes.Unavailable || server.numCalls() != 1 {
		t.Errorf("%d calls: %v", server.numCalls(), err)
	}
}

func TestTheFailureOfAnItemIsAnErrorToo(t *testing.T) {
	err := finesieve.ErrorOf(&finesievev1.Failure{
		Code: int32(codes.InvalidArgument), Reason: "EMPTY_FIELD", Message: "is empty",
		Field: "documents[2].text", RetryDelay: durationpb.New(time.Second),
	})

	var failed *finesieve.Error
	if !errors.As(err, &failed) || failed.Reason != "EMPTY_FIELD" || *failed.RetryDelay != time.Second ||
		failed.Violations[0].Field != "documents[2].text" || status.Code(err) != codes.InvalidArgument {
		t.Errorf("%+v", failed)
	}
	if err := finesieve.ErrorOf(nil); err != nil {
		t.Errorf("no failure: %v", err)
	}
}
