// Command driver carries out the conformance suite's orders by this module's client. What an order
// says, and an outcome, clients/conformance/proto tells.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"os"
	"time"

	"google.golang.org/protobuf/proto"

	finesieve "github.com/finesieve/finesieve/clients/go"
	finesievev1 "github.com/finesieve/finesieve/clients/go/finesieve/v1"
	"github.com/finesieve/finesieve/clients/go/internal/conformancev1"
)

func main() {
	driver := driver{clients: make(map[string]*finesieve.Client)}
	if err := driver.run(bufio.NewReader(os.Stdin), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// driver keeps the client of each connection.
type driver struct {
	clients map[string]*finesieve.Client
}

// run carries out one order after another until the input ends.
func (d driver) run(orders io.Reader, outcomes io.Writer) error {
	for {
		order := new(conformancev1.Order)
		switch err := read(orders, order); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if err := write(outcomes, d.carryOut(order)); err != nil {
			return err
		}
	}
}

func (d driver) carryOut(order *conformancev1.Order) *conformancev1.Outcome {
	outcome := new(conformancev1.Outcome)
	if err := d.attempt(order, outcome); err != nil {
		var failed *finesieve.Error
		if errors.As(err, &failed) {
			outcome.Error = told(failed)
		} else {
			outcome.Refusal = err.Error()
		}
	}
	return outcome
}

func (d driver) attempt(order *conformancev1.Order, outcome *conformancev1.Outcome) error {
	if order.GetPrompt() != nil {
		return writePrompt(order.GetPrompt(), outcome)
	}
	client, err := d.client(order.GetConnection())
	if err != nil {
		return err
	}
	if wait := order.GetWaitReady(); wait != nil {
		ctx, cancel := context.WithTimeout(context.Background(), milliseconds(wait.GetTimeoutMs()))
		defer cancel()
		return client.WaitReady(ctx)
	}
	return makeCall(client, order.GetCall(), outcome)
}

func (d driver) client(connection *conformancev1.Connection) (*finesieve.Client, error) {
	key := connection.String()
	if client, made := d.clients[key]; made {
		return client, nil
	}
	var options []finesieve.Option
	if connection.GetToken() != "" {
		options = append(options, finesieve.WithToken(connection.GetToken()))
	}
	if connection.GetTimeoutMs() != 0 {
		options = append(options, finesieve.WithTimeout(milliseconds(connection.GetTimeoutMs())))
	}
	files := finesieve.TLSFiles{
		RootCertificates:  connection.GetRootCertificates(),
		ClientCertificate: connection.GetClientCertificate(),
		ClientKey:         connection.GetClientKey(),
		ServerName:        connection.GetServerName(),
	}
	if connection.GetTls() || files != (finesieve.TLSFiles{}) {
		config, err := files.Config()
		if err != nil {
			return nil, err
		}
		options = append(options, finesieve.WithTLS(config))
	}
	client, err := finesieve.NewClient(connection.GetTarget(), options...)
	if err == nil {
		d.clients[key] = client
	}
	return client, err
}

func writePrompt(order *conformancev1.Prompt, outcome *conformancev1.Outcome) error {
	found := new(finesievev1.SearchResponse)
	if err := proto.Unmarshal(order.GetSearchResponse(), found); err != nil {
		return err
	}
	outcome.Prompt = finesieve.Prompt(order.GetQuestion(), found.GetHits())
	outcome.CitedIds = finesieve.Cited(order.GetAnswer(), found.GetHits())
	return nil
}

func told(failed *finesieve.Error) *conformancev1.Error {
	outcome := &conformancev1.Error{
		Code:      int32(failed.Code),
		Message:   failed.Message,
		Reason:    failed.Reason,
		Metadata:  failed.Metadata,
		RequestId: failed.RequestID,
	}
	for _, violation := range failed.Violations {
		outcome.Violations = append(outcome.Violations, &conformancev1.Violation{
			Field: violation.Field, Description: violation.Description,
		})
	}
	if failed.RetryDelay != nil {
		outcome.RetryDelayS = proto.Float64(failed.RetryDelay.Seconds())
	}
	return outcome
}

// read takes a message that its length stands before; returns io.EOF where there is none.
func read(from io.Reader, message proto.Message) error {
	var length uint32
	if err := binary.Read(from, binary.BigEndian, &length); err != nil {
		return err
	}
	content := make([]byte, length)
	if _, err := io.ReadFull(from, content); err != nil {
		return err
	}
	return proto.Unmarshal(content, message)
}

func write(to io.Writer, message proto.Message) error {
	content, err := proto.Marshal(message)
	if err != nil {
		return err
	}
	_, err = to.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(content))), content...))
	return err
}

func milliseconds(number uint32) time.Duration {
	return time.Duration(number) * time.Millisecond
}
