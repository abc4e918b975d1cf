// A plain C interface to hnswlib 0.8.0, whose headers lie unchanged in hnswlib/.
//
// index/native.py calls it by ctypes, which lets go of Python's interpreter lock meanwhile. Who may
// call what at the same time is decided in index/graph.py: any number of calls that are const here,
// or one that is not. A call that returns false has its reason in graph_error().

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <sys/mman.h>

#include "hnswlib/hnswlib.h"

#ifndef MADV_COLLAPSE  // since Linux 6.1; older kernels refuse it
#define MADV_COLLAPSE 25
#endif

#define EXPORTED extern "C" __attribute__((visibility("default")))

using Space = hnswlib::SpaceInterface<float>;
using Index = hnswlib::HierarchicalNSW<float>;

struct Graph {
    std::unique_ptr<Space> space;
    std::unique_ptr<Index> index;
    size_t dimension;
};

static thread_local std::string last_error;

static bool attempted(const std::function<void()>& work) {
    try {
        work();
        return true;
    } catch (const std::exception& error) {
        last_error = error.what();
        return false;
    }
}

static std::unique_ptr<Space> space_of(bool squared_l2, size_t dimension) {
    if (squared_l2) return std::make_unique<hnswlib::L2Space>(dimension);
    return std::make_unique<hnswlib::InnerProductSpace>(dimension);
}

// Gives advice on the pages that hold the nodes; a kernel that cannot follow it leaves all as it is.
static void advise(const Index& index, int advice) {
    const uintptr_t huge = 2 << 20;
    auto nodes = reinterpret_cast<uintptr_t>(index.data_level0_memory_);
    auto start = (nodes + huge - 1) / huge * huge;
    auto end = (nodes + index.max_elements_ * index.size_data_per_element_) / huge * huge;
    if (start < end) madvise(reinterpret_cast<void*>(start), end - start, advice);
}

static Graph* made(std::unique_ptr<Space> space, std::unique_ptr<Index> index, size_t dimension) {
    // A search keeps max(ef, k) candidates, and one ef would belong to all callers at once. Ours
    // stays at 1: every search asks for as many answers as it wants candidates.
    index->setEf(1);
    // The table of labels would otherwise move itself in the midst of an insertion.
    index->label_lookup_.reserve(index->max_elements_);
    advise(*index, MADV_HUGEPAGE);
    return new Graph{std::move(space), std::move(index), dimension};
}

EXPORTED const char* graph_error() { return last_error.c_str(); }

EXPORTED Graph* graph_new(
    bool squared_l2, size_t dimension, size_t capacity, size_t m, size_t ef_construction) {
    Graph* graph = nullptr;
    attempted([&] {
        auto space = space_of(squared_l2, dimension);
        auto index = std::make_unique<Index>(space.get(), capacity, m, ef_construction);
        graph = made(std::move(space), std::move(index), dimension);
    });
    return graph;
}

EXPORTED Graph* graph_load(
    bool squared_l2, size_t dimension, size_t capacity, const char* path) {
    Graph* graph = nullptr;
    attempted([&] {
        auto space = space_of(squared_l2, dimension);
        auto index = std::make_unique<Index>(space.get(), path, false, capacity);
        if (index->data_size_ != index->label_offset_ - index->offsetData_)
            throw std::runtime_error("the graph is of another dimension");
        graph = made(std::move(space), std::move(index), dimension);
    });
    return graph;
}

EXPORTED void graph_free(Graph* graph) { delete graph; }

EXPORTED size_t graph_nodes(const Graph* graph) { return graph->index->cur_element_count; }

EXPORTED size_t graph_capacity(const Graph* graph) { return graph->index->max_elements_; }

EXPORTED size_t graph_file_bytes(const Graph* graph) { return graph->index->indexFileSize(); }

// Writes nothing that tells whether the disk had room: compare the file with graph_file_bytes.
EXPORTED bool graph_save(const Graph* graph, const char* path) {
    return attempted([&] { graph->index->saveIndex(path); });
}

EXPORTED bool graph_reserve(Graph* graph, size_t capacity) {
    return attempted([&] {
        graph->index->resizeIndex(capacity);
        graph->index->label_lookup_.reserve(capacity);
        advise(*graph->index, MADV_HUGEPAGE);
    });
}

// Moves the nodes to huge pages, where they are not yet; others may search and add meanwhile. A walk
// through the graph jumps about in memory, and finds each place there in fewer steps.
EXPORTED void graph_use_huge_pages(const Graph* graph) { advise(*graph->index, MADV_COLLAPSE); }

EXPORTED bool graph_mark_deleted(Graph* graph, const int64_t* nodes, size_t count) {
    return attempted([&] {
        for (size_t at = 0; at < count; at++) graph->index->markDelete(nodes[at]);
    });
}

EXPORTED bool graph_add(
    Graph* graph, const int64_t* nodes, const float* vectors, size_t count, size_t threads) {
    Index& index = *graph->index;
    std::atomic<size_t> next{0};
    std::atomic<bool> failed{false};
    std::string reason;
    auto add_some = [&] {
        bool added = attempted([&] {
            for (size_t at; !failed && (at = next++) < count;)
                index.addPoint(vectors + at * graph->dimension, nodes[at]);
        });
        if (!added && !failed.exchange(true)) reason = last_error;
    };
    // The first node of all is where every other starts from.
    if (graph_nodes(graph) == 0 && count > 0 &&
        !attempted([&] { index.addPoint(vectors, nodes[next++]); }))
        return false;
    std::vector<std::thread> helpers;
    // A thread that the system does not start is done without: the others take its share.
    attempted([&] {
        helpers.reserve(threads);
        for (size_t more = 1; more < threads; more++) helpers.emplace_back(add_some);
    });
    add_some();
    for (auto& helper : helpers) helper.join();
    if (failed) last_error = reason;
    return !failed;
}

// Fills found, (count, candidates), with each query's nearest nodes, best first; where fewer are
// reached, -1 follows.
EXPORTED bool graph_nearest(
    const Graph* graph, const float* queries, size_t count, size_t candidates, int64_t* found) {
    return attempted([&] {
        for (size_t row = 0; row < count; row++, found += candidates) {
            auto farthest_first =
                graph->index->searchKnn(queries + row * graph->dimension, candidates);
            std::fill(found + farthest_first.size(), found + candidates, -1);
            for (size_t at = farthest_first.size(); at > 0; farthest_first.pop())
                found[--at] = static_cast<int64_t>(farthest_first.top().second);
        }
    });
}
