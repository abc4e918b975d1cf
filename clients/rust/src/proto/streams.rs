&[
    "/finesieve.v1.FeedbackService/ExportTrainingPairs",
    "/finesieve.v1.RerankService/StreamRerank",
    "/finesieve.v1.RetrievalService/StreamUpsertPassages",
]
