import DiskFormat

extension Checker {
    /// Replays the allocation log from the oldest block to the newest: what it allocates must be free and what it
    /// frees must not be, for the reference stops with an assertion otherwise (format: Allocation log).
    mutating func checkLog() {
        guard !roots.log.isNull else {
            findings.add(.logMissing, "the header has no allocation log")
            return
        }
        var chain: [BlockPointer] = []
        var pointer = roots.log
        while !pointer.isNull {
            if claim(pointer, of: "block \(chain.count) of the allocation log") != nil { break }
            do throws(BlockReader.Fault) {
                let buffer = try reader.readVerified(pointer)
                chain.append(pointer)
                pointer = BlockPointer(buffer.bytes, at: 0)
            } catch {
                findings.add(
                    .logUnreadable, block: pointer.address.number,
                    "block \(chain.count) of the allocation log: \(error)")
                break
            }
            tell(.allocationLog, UInt64(chain.count), of: 0)
        }
        logBlocks = UInt64(chain.count)
        // Kept are the pointers, not the blocks: a log can be long.
        for pointer in chain.reversed() {
            guard let buffer = try? reader.readVerified(pointer) else { continue }
            for entry in 0..<255 {
                let offset = (entry + 1) * 16
                replay(
                    from: buffer.bytes.u64(at: offset), count: Int64(bitPattern: buffer.bytes.u64(at: offset + 8)),
                    entry: entry, block: pointer.address.number)
            }
        }
    }

    private mutating func replay(from first: UInt64, count: Int64, entry: Int, block: UInt64) {
        guard count != 0 else { return }
        logEntries += 1
        let length = count.magnitude
        let (end, overflow) = first.addingReportingOverflow(length)
        guard !overflow, first >= Limits.firstAllocatableBlock, end <= reader.blockCount else {
            findings.add(
                .logEntryOutOfRange, block: block,
                "entry \(entry) is about \(length) blocks from \(first) on, outside of the "
                    + "\(reader.blockCount) blocks that can be used")
            return
        }
        if count > 0 {
            let before = free.insert(first..<end)
            if before > 0 {
                findings.add(
                    .logFreesFree, block: block,
                    "entry \(entry) frees \(length) blocks from \(first) on, \(before) of them are free already")
            }
        } else {
            let before = free.remove(first..<end)
            if before > 0 {
                findings.add(
                    .logAllocatesUsed, block: block,
                    "entry \(entry) allocates \(length) blocks from \(first) on, \(before) of them are not free")
            }
        }
    }
}
