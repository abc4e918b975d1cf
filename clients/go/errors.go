package finesieve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	finesievev1 "github.com/finesieve/finesieve/clients/go/finesieve/v1"
)

const requestIDKey = "x-request-id"

// Error is a call, or one item of it, that the server did not answer as asked.
//
//	var failed *finesieve.Error
//	if errors.As(err, &failed) && failed.Reason == "COLLECTION_NOT_FOUND" {
//
// status.FromError and status.Code of gRPC read it too. Where the call's own context ended it,
// errors.Is finds context.Canceled or context.DeadlineExceeded.
type Error struct {
	Code codes.Code
	// Reason is stable and in UPPER_SNAKE; empty where the failure is not the server's own.
	Reason string
	// Message is for people.
	Message string
	// Metadata holds the values that the message speaks of.
	Metadata map[string]string
	// Violations say which fields of the request are wrong.
	Violations []Violation
	// RetryDelay is how long to wait before trying again, where that helps; nil elsewhere.
	RetryDelay *time.Duration
	// RequestID is what to quote when you report a fault of the server's own.
	RequestID string

	status *status.Status
}

// Violation is one field at fault.
type Violation struct {
	// Field is its path, such as "passages[3].id".
	Field string
	// Description says what is wrong with it.
	Description string
}

// Error returns status, reason and message in one line.
func (e *Error) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("finesieve: %s: %s", e.Code, e.Message)
	}
	return fmt.Sprintf("finesieve: %s (%s): %s", e.Code, e.Reason, e.Message)
}

// GRPCStatus returns the status as it came, with all of its details.
func (e *Error) GRPCStatus() *status.Status {
	return e.status
}

// Is makes a cancelled or late call equal to what its context says of it.
func (e *Error) Is(target error) bool {
	switch target {
	case context.Canceled:
		return e.Code == codes.Canceled
	case context.DeadlineExceeded:
		return e.Code == codes.DeadlineExceeded
	}
	return false
}

// ErrorOf returns the failure of one item of a call that itself went on, nil where there is none.
func ErrorOf(failure *finesievev1.Failure) error {
	if failure == nil {
		return nil
	}
	found := newError(status.New(codes.Code(failure.GetCode()), failure.GetMessage()))
	found.Reason = failure.GetReason()
	if failure.GetField() != "" {
		found.Violations = []Violation{{failure.GetField(), failure.GetMessage()}}
	}
	if failure.GetRetryDelay() != nil {
		delay := failure.GetRetryDelay().AsDuration()
		found.RetryDelay = &delay
	}
	return found
}

// errorOfCall translates what gRPC returns; nil and the regular end of a stream stay as they are.
func errorOfCall(err error, trailer metadata.MD) error {
	if err == nil || err == io.EOF {
		return err
	}
	found := newError(statusOf(err))
	for _, detail := range found.status.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			found.Reason, found.Metadata = detail.GetReason(), detail.GetMetadata()
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				found.Violations = append(
					found.Violations, Violation{violation.GetField(), violation.GetDescription()},
				)
			}
		case *errdetails.RetryInfo:
			if detail.GetRetryDelay() != nil {
				delay := detail.GetRetryDelay().AsDuration()
				found.RetryDelay = &delay
			}
		case *errdetails.RequestInfo:
			found.RequestID = detail.GetRequestId()
		}
	}
	if ids := trailer.Get(requestIDKey); found.RequestID == "" && len(ids) > 0 {
		found.RequestID = ids[0]
	}
	return found
}

// statusOf returns the server's own status, which gRPC wraps in words of its own where it has tried
// often enough.
func statusOf(err error) *status.Status {
	var told interface{ GRPCStatus() *status.Status }
	if errors.As(err, &told) {
		return told.GRPCStatus()
	}
	return status.Convert(err)
}

func newError(s *status.Status) *Error {
	return &Error{Code: s.Code(), Message: s.Message(), status: s}
}
