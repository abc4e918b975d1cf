// Package finesieve speaks to a finesieve server, which finds passages in two stages: a first that
// retrieves many candidates fast, and a second that orders them well.
//
//	client, err := finesieve.NewClient("localhost:50051")
//	if err != nil {
//		return err
//	}
//	defer client.Close()
//	found, err := client.Search(ctx, &finesievev1.SearchRequest{Collection: "docs", Query: question})
//
// Requests and answers are the contract's own messages, in the package finesievev1 below this one.
// Prompt makes of a search's hits the question to a language model, and Cited says which of them
// its answer cites.
package finesieve

import (
	"time"

	"google.golang.org/grpc"

	finesievev1 "github.com/finesieve/finesieve/clients/go/finesieve/v1"
)

const (
	// Version of this module. It travels in the user agent.
	Version = "0.1.0"
	// DefaultTarget is where a server listens by itself.
	DefaultTarget = "localhost:50051"
	// DefaultTimeout is the deadline of calls whose context has none.
	DefaultTimeout = 30 * time.Second
)

// Client is a connection to one server, for any number of goroutines. Each method is the RPC of
// that name.
//
// A context's deadline is the call's. Where it has none, calls that are not streams get the
// client's own (WithTimeout); streams get none: they last until their context ends.
//
// Calls that may be repeated are, up to four times, where the server is unavailable or has no room,
// and no sooner than it asks. Every call that fails returns an *Error.
type Client struct {
	finesievev1.RetrievalServiceClient
	finesievev1.RerankServiceClient
	finesievev1.SearchServiceClient
	finesievev1.EmbeddingServiceClient
	finesievev1.ModelServiceClient
	finesievev1.FeedbackServiceClient

	conn *grpc.ClientConn
}

// NewClient prepares a connection to target: "host:port", or any other name that gRPC knows. Calls
// take turns over all addresses of the name. An empty target is DefaultTarget.
//
// Nothing is sent before the first call: an error means options that cannot be, such as a token that
// would travel in the clear. Whether a server is there, WaitReady says.
func NewClient(target string, options ...Option) (*Client, error) {
	if target == "" {
		target = DefaultTarget
	}
	settings := settings{timeout: DefaultTimeout}
	for _, option := range options {
		option(&settings)
	}
	conn, err := connect(target, settings)
	if err != nil {
		return nil, err
	}
	return &Client{
		RetrievalServiceClient: finesievev1.NewRetrievalServiceClient(conn),
		RerankServiceClient:    finesievev1.NewRerankServiceClient(conn),
		SearchServiceClient:    finesievev1.NewSearchServiceClient(conn),
		EmbeddingServiceClient: finesievev1.NewEmbeddingServiceClient(conn),
		ModelServiceClient:     finesievev1.NewModelServiceClient(conn),
		FeedbackServiceClient:  finesievev1.NewFeedbackServiceClient(conn),
		conn:                   conn,
	}, nil
}

// Close ends the connection; calls under way end with an error.
func (c *Client) Close() error {
	return c.conn.Close()
}
