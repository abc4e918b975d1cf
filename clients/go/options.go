package finesieve

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
)

// An Option says how a Client reaches its server.
type Option func(*settings)

type settings struct {
	tls     *tls.Config
	token   string
	timeout time.Duration
	dial    []grpc.DialOption
}

// WithTLS speaks TLS. An empty configuration trusts the system's authorities; TLSFiles reads one
// from files.
func WithTLS(config *tls.Config) Option {
	return func(s *settings) { s.tls = config }
}

// WithToken sends a bearer token with every call. It goes over TLS or to this same machine only.
func WithToken(token string) Option {
	return func(s *settings) { s.token = token }
}

// WithTimeout sets the deadline of calls that are not streams and whose context has none. 0: none.
func WithTimeout(timeout time.Duration) Option {
	return func(s *settings) { s.timeout = timeout }
}

// WithDialOptions adds to what gRPC is told: tracing, a dialer, limits of your own.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) { s.dial = append(s.dial, options...) }
}

// TLSFiles names the PEM files of a TLS configuration, each of which may be left out.
type TLSFiles struct {
	// RootCertificates are trusted in place of the system's authorities.
	RootCertificates string
	// ClientCertificate and ClientKey together prove who the client is.
	ClientCertificate string
	ClientKey         string
	// ServerName is what the server's certificate must name where that is not the target's host.
	ServerName string
}

// Config reads the files.
func (f TLSFiles) Config() (*tls.Config, error) {
	config := &tls.Config{ServerName: f.ServerName}
	if f.RootCertificates != "" {
		pem, err := os.ReadFile(f.RootCertificates)
		if err != nil {
			return nil, fmt.Errorf("finesieve: root certificates: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("finesieve: %s holds no certificate", f.RootCertificates)
		}
	}
	if (f.ClientCertificate == "") != (f.ClientKey == "") {
		return nil, errors.New("finesieve: a client certificate and its key belong together; one is missing")
	}
	if f.ClientCertificate != "" {
		certificate, err := tls.LoadX509KeyPair(f.ClientCertificate, f.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("finesieve: client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}
