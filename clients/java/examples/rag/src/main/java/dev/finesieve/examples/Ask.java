package dev.finesieve.examples;

import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.models.chat.completions.ChatCompletionCreateParams;
import dev.finesieve.client.FinesieveClient;
import dev.finesieve.client.FinesieveException;
import dev.finesieve.client.Rag;
import dev.finesieve.v1.Hit;
import dev.finesieve.v1.LongPassage;
import dev.finesieve.v1.Passage;
import dev.finesieve.v1.RerankOptions;
import dev.finesieve.v1.SearchHit;
import dev.finesieve.v1.SearchRequest;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * Answers a question from a collection, and shows the passages that the answer cites.
 *
 * <p>The language model is the one behind OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL. Without
 * one of the first two, the answer is the best passages' own words.
 */
public final class Ask {
  private static final int HITS = 5;
  private static final int QUOTED = 3;

  private Ask() {}

  public static void main(String[] arguments) {
    if (arguments.length != 3) {
      System.err.println("usage: Ask TARGET COLLECTION QUESTION");
      System.exit(2);
    }
    try {
      answer(arguments[0], arguments[1], arguments[2]);
    } catch (FinesieveException error) {
      System.err.println(error);
      System.exit(1);
    } catch (IllegalArgumentException refusal) {
      System.err.println(refusal.getMessage());
      System.exit(1);
    }
  }

  private static void answer(String target, String collection, String question) {
    List<SearchHit> hits = search(target, collection, question);
    if (hits.isEmpty()) {
      System.out.println("Nothing was found.");
      return;
    }
    String answer = hasModel() ? complete(Rag.prompt(question, hits)) : quote(hits);
    System.out.println(answer + "\n");
    List<String> cited = Rag.cited(answer, hits);
    for (int i = 0; i < hits.size(); i++) {
      Passage passage = hits.get(i).getHit().getPassage();
      if (cited.contains(passage.getId())) {
        System.out.printf("[%d] %s (%s)%n", i + 1, passage.getTitle(), passage.getId());
      }
    }
  }

  private static List<SearchHit> search(String target, String collection, String question) {
    SearchRequest request =
        SearchRequest.newBuilder()
            .setCollection(collection)
            .setQuery(question)
            .setTopN(HITS)
            .setRerank(RerankOptions.newBuilder().setLongPassage(LongPassage.LONG_PASSAGE_CHUNK))
            .build();
    try (FinesieveClient client = FinesieveClient.builder().target(target).build()) {
      return client.search(request).getHitsList();
    }
  }

  private static boolean hasModel() {
    return isSet("OPENAI_BASE_URL") || isSet("OPENAI_API_KEY");
  }

  private static boolean isSet(String variable) {
    return !setting(variable).isEmpty();
  }

  /** Returns what a variable is set to; "" where it is not set. */
  private static String setting(String variable) {
    return System.getenv().getOrDefault(variable, "");
  }

  private static String complete(String prompt) {
    if (!isSet("OPENAI_MODEL")) {
      throw new IllegalArgumentException("no model; set OPENAI_MODEL");
    }
    OpenAIOkHttpClient.Builder builder = OpenAIOkHttpClient.builder();
    builder.apiKey(isSet("OPENAI_API_KEY") ? setting("OPENAI_API_KEY") : "none"); // local: no key
    if (isSet("OPENAI_BASE_URL")) {
      builder.baseUrl(setting("OPENAI_BASE_URL"));
    }
    OpenAIClient model = builder.build();
    try {
      ChatCompletionCreateParams request =
          ChatCompletionCreateParams.builder()
              .model(setting("OPENAI_MODEL"))
              .addUserMessage(prompt)
              .build();
      return model.chat().completions().create(request).choices().stream()
          .flatMap(choice -> choice.message().content().stream())
          .findFirst()
          .orElse("");
    } finally {
      model.close();
    }
  }

  /** Returns what of the best hits is most relevant, each with its number. */
  private static String quote(List<SearchHit> hits) {
    return IntStream.range(0, Math.min(QUOTED, hits.size()))
        .mapToObj(i -> best(hits.get(i).getHit()) + " [" + (i + 1) + "]")
        .collect(Collectors.joining("\n"));
  }

  /** Returns the chunk that won, where a long passage was read in chunks; else all of it. */
  private static String best(Hit hit) {
    String text = hit.getPassage().getText();
    if (!hit.hasBestSpan()) {
      return text;
    }
    return text.substring(
        text.offsetByCodePoints(0, hit.getBestSpan().getStart()),
        text.offsetByCodePoints(0, hit.getBestSpan().getEnd()));
  }
}
