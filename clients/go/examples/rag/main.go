// Command rag answers a question from the passages of a collection: both stages of a search, a
// prompt, a language model behind any endpoint of OpenAI's kind, and the passages that it cites.
//
//	go run . localhost:50051 docs "How do I copy a folder?"
//
// OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL say which model. Where neither of the first two is
// set, the answer is what the best passages say themselves.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"

	"github.com/openai/openai-go/v3"

	finesieve "github.com/finesieve/finesieve/clients/go"
	finesievev1 "github.com/finesieve/finesieve/clients/go/finesieve/v1"
)

const (
	numHits   = 5
	numQuoted = 3
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: rag TARGET COLLECTION QUESTION")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := answer(ctx, os.Args[1], os.Args[2], os.Args[3]); err != nil {
		stop()
		log.Fatal(err)
	}
}

// answer prints an answer to the question, and the passages that support it.
func answer(ctx context.Context, target, collection, question string) error {
	client, err := finesieve.NewClient(target)
	if err != nil {
		return err
	}
	defer client.Close()

	found, err := client.Search(ctx, &finesievev1.SearchRequest{
		Collection: collection,
		Query:      question,
		TopN:       numHits,
		Rerank:     &finesievev1.RerankOptions{LongPassage: finesievev1.LongPassage_LONG_PASSAGE_CHUNK},
	})
	if err != nil {
		return err
	}
	hits := found.GetHits()
	if len(hits) == 0 {
		fmt.Println("Nothing was found.")
		return nil
	}

	var text string
	if os.Getenv("OPENAI_BASE_URL") == "" && os.Getenv("OPENAI_API_KEY") == "" {
		text = quote(hits[:min(numQuoted, len(hits))])
	} else if text, err = complete(ctx, finesieve.Prompt(question, hits)); err != nil {
		return err
	}
	fmt.Println(text)
	fmt.Println()
	cited := finesieve.Cited(text, hits)
	for i, hit := range hits {
		passage := hit.GetHit().GetPassage()
		if slices.Contains(cited, passage.GetId()) {
			fmt.Printf("[%d] %s (%s)\n", i+1, passage.GetTitle(), passage.GetId())
		}
	}
	return nil
}

// complete returns what the language model says.
func complete(ctx context.Context, prompt string) (string, error) {
	llm := openai.NewClient() // reads OPENAI_BASE_URL and OPENAI_API_KEY
	completion, err := llm.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{
		Model:    os.Getenv("OPENAI_MODEL"),
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(prompt)},
	})
	if err != nil {
		return "", err
	}
	if len(completion.Choices) == 0 {
		return "", errors.New("the language model gave no answer")
	}
	return completion.Choices[0].Message.Content, nil
}

// quote returns what of each hit is most relevant, with its number.
func quote(hits []*finesievev1.SearchHit) string {
	var text string
	for i, hit := range hits {
		best := hit.GetHit().GetPassage().GetText()
		if span := hit.GetHit().GetBestSpan(); span != nil {
			best = string([]rune(best)[span.GetStart():span.GetEnd()])
		}
		text += fmt.Sprintf("%s [%d]\n", best, i+1)
	}
	return text
}
