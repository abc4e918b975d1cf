package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	finesieve "github.com/finesieve/finesieve/clients/go"
	"github.com/finesieve/finesieve/clients/go/internal/conformancev1"
)

// keptResponses is how many responses of one call an outcome holds.
const keptResponses = 16

// call is one call under way: its order, and what comes of it.
type call struct {
	order   *conformancev1.Call
	outcome *conformancev1.Outcome
	ctx     context.Context
	cancel  context.CancelFunc
}

// makeCall makes the call that the order says.
func makeCall(client *finesieve.Client, order *conformancev1.Call, outcome *conformancev1.Outcome) error {
	method, known := methods(client)[order.GetMethod()]
	if !known {
		return fmt.Errorf("unknown method %q", order.GetMethod())
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if order.TimeoutMs != nil {
		var done context.CancelFunc
		ctx, done = context.WithTimeout(ctx, milliseconds(order.GetTimeoutMs()))
		defer done()
	}
	if order.CancelAfterMs != nil {
		defer time.AfterFunc(milliseconds(order.GetCancelAfterMs()), cancel).Stop()
	}
	return method(&call{order, outcome, ctx, cancel})
}

// methods returns all methods of the contract, by their names in it.
func methods(client *finesieve.Client) map[string]func(*call) error {
	return map[string]func(*call) error{
		"finesieve.v1.RetrievalService/CreateCollection":     unary(client.CreateCollection),
		"finesieve.v1.RetrievalService/GetCollection":        unary(client.GetCollection),
		"finesieve.v1.RetrievalService/ListCollections":      unary(client.ListCollections),
		"finesieve.v1.RetrievalService/DeleteCollection":     unary(client.DeleteCollection),
		"finesieve.v1.RetrievalService/UpsertPassages":       unary(client.UpsertPassages),
		"finesieve.v1.RetrievalService/StreamUpsertPassages": bidirectional(client.StreamUpsertPassages),
		"finesieve.v1.RetrievalService/DeletePassages":       unary(client.DeletePassages),
		"finesieve.v1.RetrievalService/GetPassages":          unary(client.GetPassages),
		"finesieve.v1.RetrievalService/ListPassages":         unary(client.ListPassages),
		"finesieve.v1.RetrievalService/Retrieve":             unary(client.Retrieve),
		"finesieve.v1.RetrievalService/BatchRetrieve":        unary(client.BatchRetrieve),
		"finesieve.v1.RerankService/Rerank":                  unary(client.Rerank),
		"finesieve.v1.RerankService/StreamRerank":            bidirectional(client.StreamRerank),
		"finesieve.v1.SearchService/Search":                  unary(client.Search),
		"finesieve.v1.EmbeddingService/Embed":                unary(client.Embed),
		"finesieve.v1.EmbeddingService/CountTokens":          unary(client.CountTokens),
		"finesieve.v1.ModelService/ListModels":               unary(client.ListModels),
		"finesieve.v1.FeedbackService/RecordFeedback":        unary(client.RecordFeedback),
		"finesieve.v1.FeedbackService/ExportTrainingPairs":   serverStreaming(client.ExportTrainingPairs),
	}
}

// message is a pointer to a generated message, which Message is.
type message[Message any] interface {
	*Message
	proto.Message
}

func unary[Request, Response any, R message[Request], S message[Response]](
	method func(context.Context, R, ...grpc.CallOption) (S, error),
) func(*call) error {
	return func(c *call) error {
		request, err := firstRequest[Request, R](c.order)
		if err != nil {
			return err
		}
		response, err := method(c.ctx, request)
		if err != nil {
			return err
		}
		return c.keep(response)
	}
}

func serverStreaming[Request, Response any, R message[Request], S message[Response]](
	method func(context.Context, R, ...grpc.CallOption) (grpc.ServerStreamingClient[Response], error),
) func(*call) error {
	return func(c *call) error {
		request, err := firstRequest[Request, R](c.order)
		if err != nil {
			return err
		}
		stream, err := method(c.ctx, request)
		if err != nil {
			return err
		}
		return receive[Response, S](c, stream)
	}
}

func bidirectional[Request, Response any, R message[Request], S message[Response]](
	method func(context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[Request, Response], error),
) func(*call) error {
	return func(c *call) error {
		requests := make([]R, len(c.order.GetRequests()))
		for i, content := range c.order.GetRequests() {
			requests[i] = new(Request)
			if err := proto.Unmarshal(content, requests[i]); err != nil {
				return err
			}
		}
		stream, err := method(c.ctx)
		if err != nil {
			return err
		}
		go send[Request](c, stream, requests)
		return receive[Response, S](c, stream)
	}
}

// send sends the requests as often as was ordered, or until the stream ends; why, receiving tells.
func send[Request, Response any, R message[Request]](
	c *call, stream grpc.BidiStreamingClient[Request, Response], requests []R,
) {
	for range max(c.order.GetRepeat(), 1) {
		for _, request := range requests {
			if stream.Send(request) != nil {
				return
			}
		}
	}
	_ = stream.CloseSend()
}

func receive[Response any, S message[Response]](
	c *call, stream interface{ Recv() (*Response, error) },
) error {
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.keep(S(response)); err != nil {
			return err
		}
	}
}

// firstRequest returns what a method that takes one request is called with.
func firstRequest[Request any, R message[Request]](order *conformancev1.Call) (R, error) {
	request := R(new(Request))
	if len(order.GetRequests()) != 1 {
		return nil, fmt.Errorf("%s takes one request", order.GetMethod())
	}
	return request, proto.Unmarshal(order.GetRequests()[0], request)
}

// keep counts a response, and cancels the call after as many as was ordered.
func (c *call) keep(response proto.Message) error {
	content, err := proto.Marshal(response)
	if err != nil {
		return err
	}
	c.outcome.ResponseCount++
	c.outcome.Responses = append(c.outcome.Responses, content)
	if len(c.outcome.Responses) > keptResponses {
		c.outcome.Responses = c.outcome.Responses[1:]
	}
	if wanted := c.order.GetCancelAfterResponses(); wanted > 0 && c.outcome.ResponseCount == uint64(wanted) {
		c.cancel()
	}
	return nil
}
