package finesieve_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	finesieve "github.com/finesieve/finesieve/clients/go"
)

func TestEveryCallSaysWhoMakesIt(t *testing.T) {
	server, address := serve(t, well)
	client := connect(t, address, finesieve.WithToken("secret"))

	if err := search(t.Context(), client); err != nil {
		t.Fatal(err)
	}

	if got := server.header("authorization"); len(got) != 1 || got[0] != "Bearer secret" {
		t.Errorf("authorization: %q", got)
	}
	agent := server.header("user-agent")[0]
	if want := "finesieve-go/" + finesieve.Version; len(agent) < len(want) || agent[:len(want)] != want {
		t.Errorf("user agent: %q", agent)
	}
}

func TestATokenLeavesThisMachineOverTLSAlone(t *testing.T) {
	for target, allowed := range map[string]bool{
		"":                          true,
		"localhost:50051":           true,
		"localhost":                 true,
		"127.0.0.1:50051":           true,
		"127.8.9.1:50051":           true,
		"[::1]:50051":               true,
		"dns:///localhost:50051":    true,
		"unix:/run/finesieve.sock":  true,
		"example.com:50051":         false,
		"localhost.example.com:443": false,
		"127.0.0.1.example.com:443": false,
		"10.0.0.1:50051":            false,
		"[::2]:50051":               false,
		"dns:///example.com:50051":  false,
		"[::1]":                     true,
		"dns:///[::1]:50051":        true,
		// gRPC reads a URI's host and drops what follows it.
		"dns:///example.com:50051?/localhost":         false,
		"dns:///example.com:50051#/localhost:1":       false,
		"example.com:50051?/localhost":                false,
		"example.com:50051/localhost":                 false,
		"passthrough:///example.com:50051?/localhost": false,
		"127.0.0.1@example.com:50051":                 false,
		"dns://example.com/localhost:50051":           false,
	} {
		client, err := finesieve.NewClient(target, finesieve.WithToken("secret"))
		if (err == nil) != allowed {
			t.Errorf("%q in the clear: %v", target, err)
		}
		if err == nil {
			_ = client.Close()
		}
		connect(t, target, finesieve.WithToken("secret"), finesieve.WithTLS(&tls.Config{}))
		connect(t, target)
	}
}

func TestATokenMeantForTLSDoesNotLeaveWithoutIt(t *testing.T) {
	_, err := finesieve.NewClient(
		"example.com:50051", finesieve.WithToken("secret"), finesieve.WithTLS(&tls.Config{}),
		finesieve.WithDialOptions(grpc.WithTransportCredentials(insecure.NewCredentials())),
	)

	if err == nil {
		t.Error("accepted")
	}
}

func TestFilesThatAreNoGoodAreRefused(t *testing.T) {
	noPEM := filepath.Join(t.TempDir(), "no.pem")
	if err := os.WriteFile(noPEM, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]finesieve.TLSFiles{
		"missing":                  {RootCertificates: "nowhere.pem"},
		"no certificate":           {RootCertificates: noPEM},
		"key alone":                {ClientKey: noPEM},
		"certificate alone":        {ClientCertificate: noPEM},
		"certificate that is none": {ClientCertificate: noPEM, ClientKey: noPEM},
	} {
		if _, err := files.Config(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
