package finesieve_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	finesieve "github.com/finesieve/finesieve/clients/go"
	finesievev1 "github.com/finesieve/finesieve/clients/go/finesieve/v1"
)

// fakeServer answers as a test says, and remembers the contexts of its calls.
type fakeServer struct {
	finesievev1.UnimplementedSearchServiceServer
	finesievev1.UnimplementedRerankServiceServer
	finesievev1.UnimplementedRetrievalServiceServer

	health *health.Server
	answer func(context.Context) error

	mutex    sync.Mutex
	contexts []context.Context
}

// serve starts a server that lasts as long as its test, and returns it with its address.
func serve(t *testing.T, answer func(context.Context) error) (*fakeServer, string) {
	t.Helper()
	fake := &fakeServer{health: health.NewServer(), answer: answer}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	finesievev1.RegisterSearchServiceServer(server, fake)
	finesievev1.RegisterRerankServiceServer(server, fake)
	finesievev1.RegisterRetrievalServiceServer(server, fake)
	grpc_health_v1.RegisterHealthServer(server, fake.health)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return fake, listener.Addr().String()
}

// connect returns a client that lasts as long as its test.
func connect(t *testing.T, target string, options ...finesieve.Option) *finesieve.Client {
	t.Helper()
	client, err := finesieve.NewClient(target, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func (f *fakeServer) take(ctx context.Context) error {
	f.mutex.Lock()
	f.contexts = append(f.contexts, ctx)
	f.mutex.Unlock()
	return f.answer(ctx)
}

func (f *fakeServer) numCalls() int {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return len(f.contexts)
}

// header returns what the last call carried under the key.
func (f *fakeServer) header(key string) []string {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return metadata.ValueFromIncomingContext(f.contexts[len(f.contexts)-1], key)
}

// timeLeft returns how long the last call had; false where it had no deadline.
func (f *fakeServer) timeLeft() (time.Duration, bool) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	deadline, set := f.contexts[len(f.contexts)-1].Deadline()
	return time.Until(deadline), set
}

func (f *fakeServer) Search(
	ctx context.Context, _ *finesievev1.SearchRequest,
) (*finesievev1.SearchResponse, error) {
	return &finesievev1.SearchResponse{}, f.take(ctx)
}

func (f *fakeServer) CreateCollection(
	ctx context.Context, _ *finesievev1.CreateCollectionRequest,
) (*finesievev1.CreateCollectionResponse, error) {
	return &finesievev1.CreateCollectionResponse{}, f.take(ctx)
}

func (f *fakeServer) StreamRerank(
	stream grpc.BidiStreamingServer[finesievev1.StreamRerankRequest, finesievev1.StreamRerankResponse],
) error {
	return f.take(stream.Context())
}
