import DiskFormat

/// A file whose record map is being checked.
struct RecordMap {
    let node: UInt32
    let recordLevel: UInt32
    /// Records that lie at least partly before the end.
    let recordCount: UInt64
    /// Blocks that the map's pointers name, lists and records.
    var blocks: UInt64 = 0
    var surplusRecords: UInt64 = 0
    var firstSurplusRecord: UInt64 = 0
    /// Whether some pointer could not be followed, so that the number of blocks isn't known.
    var isIncomplete = false
}

extension Checker {
    /// Checks all pointers of a node without inline data; returns how many blocks they name, nil
    /// if that isn't known.
    mutating func checkRecords(
        _ bytes: RawSpan, _ fields: NodeFields, node: UInt32, block: UInt64
    ) -> UInt64? {
        let level = min(fields.recordLevel, Limits.maximumRecordLevel)
        guard let layout = try? RecordLayout(recordLevel: level) else { return nil }
        var map = RecordMap(node: node, recordLevel: level, recordCount: layout.recordCount(size: fields.size))
        for slot in 0..<RecordLayout.nodePointerCount {
            let pointer = NodeFields.pointer(bytes, slot)
            if pointer.isNull {
                if RecordLayout.depth(ofSlot: slot) > 0,
                    checkNull(pointer, of: "pointer \(slot)", block: block, node: node)
                {
                    damage[node].hasSurplusPointers = true
                }
                continue
            }
            checkMapPointer(
                pointer, &map, depth: RecordLayout.depth(ofSlot: slot), first: RecordLayout.firstRecord(ofSlot: slot))
        }
        if map.surplusRecords > 0 {
            findings.add(
                .recordsBeyondEnd, node: node,
                "\(map.surplusRecords) records from record \(map.firstSurplusRecord) on lie behind the end "
                    + "at \(fields.size)")
            damage[node].hasSurplusPointers = true
        }
        return map.isIncomplete ? nil : map.blocks
    }

    private mutating func checkMapPointer(
        _ pointer: BlockPointer, _ map: inout RecordMap, depth: Int, first: UInt64
    ) {
        if depth == 0 {
            checkRecordPointer(pointer, &map, record: first)
            return
        }
        if let problem = claim(pointer, of: "the pointer to a list of records from \(first) on", node: map.node) {
            let cut = RecordCut(firstRecord: first, depth: depth)
            map.isIncomplete = true
            // What something else owns, too, is copied by a repair, unless there is an older generation that is whole.
            if case .usedTwice = problem {
                damage[map.node].recopied.insert(cut)
            } else {
                damage[map.node].lost.insert(cut)
            }
            return
        }
        map.blocks += 1
        do throws(BlockReader.Fault) {
            let list = try reader.readVerified(pointer)
            checkList(list.bytes, &map, depth: depth, first: first, block: pointer.address.number)
        } catch {
            let count = RecordLayout.recordsPerPointer(depth: depth)
            findings.add(
                .listUnreadable, block: pointer.address.number, node: map.node,
                "the list of records \(first) to \(first + count - 1): \(error)")
            damage[map.node].lost.insert(RecordCut(firstRecord: first, depth: depth))
            map.isIncomplete = true
        }
    }

    private mutating func checkList(
        _ bytes: RawSpan, _ map: inout RecordMap, depth: Int, first: UInt64, block: UInt64
    ) {
        let step = RecordLayout.recordsPerPointer(depth: depth - 1)
        var isEmpty = true
        for index in 0..<ListBlock.pointerCount {
            let pointer = ListBlock.pointer(bytes, index)
            if pointer.isNull {
                if depth > 1, checkNull(pointer, of: "pointer \(index) of a list", block: block, node: map.node) {
                    damage[map.node].hasSurplusPointers = true
                }
                continue
            }
            isEmpty = false
            checkMapPointer(pointer, &map, depth: depth - 1, first: first + UInt64(index) * step)
        }
        if isEmpty {
            findings.add(
                .listEmpty, block: block, node: map.node, "the list of records from \(first) on has no pointers")
            damage[map.node].hasSurplusPointers = true
        }
    }

    private mutating func checkRecordPointer(_ pointer: BlockPointer, _ map: inout RecordMap, record: UInt64) {
        let address = pointer.address
        let cut = RecordCut(firstRecord: record, depth: 0)
        if address.level > Int(Limits.maximumRecordLevel) || address.contentLevel > Int(Limits.maximumRecordLevel) {
            findings.add(
                .pointerLevelInvalid, block: address.number, node: map.node,
                "record \(record) is \(address), larger than any record")
            damage[map.node].lost.insert(cut)
            map.isIncomplete = true
            return
        }
        switch claim(pointer, of: "the pointer to record \(record)", node: map.node, isRecord: true) {
        case .outOfRange, .level:
            damage[map.node].lost.insert(cut)
            map.isIncomplete = true
            return
        case .usedTwice:
            damage[map.node].recopied.insert(cut)
        case nil:
            break
        }
        map.blocks += address.blockCount
        if record >= map.recordCount {
            if map.surplusRecords == 0 {
                map.firstSurplusRecord = record
            }
            map.surplusRecords += 1
            return
        }
        if address.contentLevel > Int(map.recordLevel)
            || address.isCompressed && address.level >= address.decompressedLevel
        {
            findings.add(
                .recordLevelInvalid, block: address.number, node: map.node,
                "record \(record) is \(address), the node's records have level \(map.recordLevel)")
            damage[map.node].recopied.insert(cut)
        }
        if options.verifyData {
            queue(RecordQueue.Item(pointer: pointer, node: map.node, record: record))
        }
    }
}
