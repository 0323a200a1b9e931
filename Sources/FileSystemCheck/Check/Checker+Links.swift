import DiskFormat

extension Checker {
    /// Finds directories that name each other in a circle, so that no way leads to them from the root.
    mutating func checkReachability() {
        for start in nodes.rows.indices where nodes[start].kind == .directory {
            var chain: [Int] = []
            var index = start
            while !nodes[index].marks.contains(.resolved) {
                if nodes[index].marks.contains(.onChain) {
                    let node = nodes[index].number
                    findings.add(
                        .directoryCycle, block: nodes[index].block, node: node,
                        "directory \(node) lies within itself, by way of directory \(nodes[index].parent)")
                    damage.orphans.append(node)
                    // The entry that closes the circle is dropped: the directory's place is no longer there.
                    damage[nodes[index].parent].needsNewHashTree = true
                    nodes[index].references = 0
                    nodes[index].parent = 0
                    break
                }
                nodes[index].marks.insert(.onChain)
                chain.append(index)
                guard nodes[index].number != NodeID.root.rawValue, nodes[index].parent != 0,
                    let parent = nodes.index(of: nodes[index].parent)
                else { break }
                index = parent
            }
            for index in chain {
                nodes[index].marks.remove(.onChain)
                nodes[index].marks.insert(.resolved)
            }
        }
    }

    /// Compares each node's links with the names that were counted.
    mutating func checkLinks() {
        let cycles = Set(damage.orphans)
        for index in nodes.rows.indices {
            let row = nodes[index]
            if row.marks.contains(.released) {
                if row.links != 0 {
                    findings.add(
                        .releasedNodeLinks, block: row.block, node: row.number,
                        "\(row.links) links are stored, it waits for its deletion and has no name")
                }
                continue
            }
            let isRoot = row.number == NodeID.root.rawValue
            if row.references == 0, !isRoot {
                if !cycles.contains(row.number) {
                    findings.add(
                        .nodeOrphaned, block: row.block, node: row.number,
                        "node \(row.number) has no name and isn't on the release list")
                    damage.orphans.append(row.number)
                }
                damage[row.number].hasWrongFields = true
                continue
            }
            let expected = isRoot || row.kind == .directory ? 1 : row.references
            if row.links != expected {
                findings.add(
                    .nodeLinksWrong, block: row.block, node: row.number,
                    "\(row.links) links are stored, it has \(expected)")
                damage[row.number].hasWrongFields = true
            }
        }
    }

    /// Compares what is in use with what is free.
    mutating func checkUse() {
        let range = Limits.firstAllocatableBlock..<max(reader.blockCount, Limits.firstAllocatableBlock)
        var usedAndFree: [Range<UInt64>] = []
        BlockBitmap.forEachRun(in: range) {
            self.used.word($0) & self.free.word($0)
        } _: {
            usedAndFree.append($0)
        }
        for run in usedAndFree {
            findings.add(
                .blockUsedAndFree, block: run.lowerBound,
                "\(run.count) blocks from \(run.lowerBound) on are in use and free")
        }
        var leaked: [Range<UInt64>] = []
        BlockBitmap.forEachRun(in: range) {
            ~(self.used.word($0) | self.free.word($0))
        } _: {
            leaked.append($0)
        }
        for run in leaked {
            findings.add(
                .blockLeaked, block: run.lowerBound,
                "\(counted(run.count, "block")) from \(run.lowerBound) on \(run.count == 1 ? "is" : "are") neither in use nor free"
            )
        }
    }

    /// Blocks of the file system behind block 256 of which `word`, a function of a word's index, says yes.
    func countBlocks(_ word: (Int) -> UInt64) -> UInt64 {
        var total: UInt64 = 0
        let range = Limits.firstAllocatableBlock..<max(reader.blockCount, Limits.firstAllocatableBlock)
        BlockBitmap.forEachRun(in: range, word) { total += UInt64($0.count) }
        return total
    }

    /// What was found, in the form that callers get.
    func report(in generation: Generation) -> CheckReport {
        CheckReport(
            generation: generation, wholeGeneration: nil, fullerGeneration: nil, changesSinceWhole: [],
            used: countBlocks { self.used.word($0) },
            free: countBlocks { self.free.word($0) },
            leaked: countBlocks { ~(self.used.word($0) | self.free.word($0)) },
            usedAndFree: countBlocks { self.used.word($0) & self.free.word($0) },
            nodes: UInt64(nodes.rows.count), logBlocks: logBlocks, logEntries: logEntries, releasedNodes: released,
            blockCount: reader.blockCount, verifiedBytes: records.verifiedBytes, findings: findings.findings,
            counts: findings.counts, hasLostMetadata: damage.hasLostMetadata)
    }
}
