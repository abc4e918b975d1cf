//! Answer a question from a collection, and say which passages the answer rests on.
//!
//! ```console
//! cargo run --example rag -- localhost:50051 docs "how do I copy a folder with everything in it?"
//! ```
//!
//! OPENAI_BASE_URL or OPENAI_API_KEY, with OPENAI_MODEL, say which model answers. With neither of
//! the two, the best passages' own words are the answer.

use std::env;
use std::error::Error;
use std::io::{Write, stdout};
use std::process::ExitCode;

use async_openai::types::chat::{
    ChatCompletionRequestUserMessage, CreateChatCompletionRequest, CreateChatCompletionRequestArgs,
};
use finesieve_client::proto::{LongPassage, RerankOptions, SearchHit, SearchRequest};
use finesieve_client::{Client, cited, prompt};
use tokio_stream::StreamExt;

const NUM_PASSAGES: u32 = 5;
const NUM_QUOTES: usize = 3;
const MAX_QUOTE_TOKENS: u32 = 64;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [target, collection, question] = arguments.as_slice() else {
        eprintln!("usage: cargo run --example rag -- TARGET COLLECTION QUESTION");
        return ExitCode::from(2);
    };
    match answer(target, collection, question).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn answer(target: &str, collection: &str, question: &str) -> Result<(), Box<dyn Error>> {
    let hits = search(target, collection, question).await?;
    if hits.is_empty() {
        println!("Nothing was found.");
    } else if is_set("OPENAI_BASE_URL") || is_set("OPENAI_API_KEY") {
        let answer = generate(prompt(question, &hits)).await?;
        print_sources(&answer, &hits);
    } else {
        for hit in hits.iter().take(NUM_QUOTES) {
            println!("{} — {}", quote(hit), source(hit));
        }
    }
    Ok(())
}

fn is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty())
}

async fn search(
    target: &str,
    collection: &str,
    question: &str,
) -> Result<Vec<SearchHit>, Box<dyn Error>> {
    let request = SearchRequest {
        collection: collection.into(),
        query: question.into(),
        top_n: NUM_PASSAGES,
        // Scored in chunks, a long passage tells which part of it is the best one.
        rerank: Some(RerankOptions {
            long_passage: LongPassage::Chunk.into(),
            max_passage_tokens: MAX_QUOTE_TOKENS,
            ..Default::default()
        }),
        ..Default::default()
    };
    Ok(Client::new(target)?.search(request).await?.hits)
}

/// Print the model's answer while it comes; return it.
async fn generate(prompt: String) -> Result<String, Box<dyn Error>> {
    let model = env::var("OPENAI_MODEL").unwrap_or_default();
    if model.is_empty() {
        return Err("no model; set OPENAI_MODEL".into());
    }
    let request: CreateChatCompletionRequest = CreateChatCompletionRequestArgs::default()
        .model(model)
        .messages([ChatCompletionRequestUserMessage::from(prompt).into()])
        .build()?;
    let mut pieces = async_openai::Client::new()
        .chat()
        .create_stream(request)
        .await?;
    let mut answer = String::new();
    while let Some(piece) = pieces.next().await {
        for choice in piece?.choices {
            let text = choice.delta.content.unwrap_or_default();
            print!("{text}");
            stdout().flush()?;
            answer += &text;
        }
    }
    println!();
    Ok(answer)
}

fn print_sources(answer: &str, hits: &[SearchHit]) {
    let ids = cited(answer, hits);
    for (number, hit) in (1..).zip(hits) {
        if ids.contains(&hit.passage().id.as_str()) {
            println!("[{number}] {}", source(hit));
        }
    }
}

/// Return the best part of a hit's text; spans count characters, not bytes.
fn quote(hit: &SearchHit) -> String {
    let text = hit.passage().text.chars();
    let span = hit.hit.as_ref().and_then(|hit| hit.best_span);
    let quote: String = match span {
        Some(span) => text
            .skip(span.start as usize)
            .take((span.end - span.start) as usize)
            .collect(),
        None => text.collect(),
    };
    quote.trim().to_owned()
}

fn source(hit: &SearchHit) -> String {
    let passage = hit.passage();
    format!("{} ({})", passage.title, passage.id)
        .trim_start()
        .to_owned()
}
