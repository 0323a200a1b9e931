import DiskFormat
import Platform

/// Entries of a directory on their way into a new hash tree.
struct DirectoryBuilder {
    struct Entry {
        let hash: UInt32
        let node: UInt32
        let name: [UInt8]
    }

    private(set) var entries: [Entry] = []
    private var names: Set<[UInt8]> = []

    /// Adds an entry; a name that the format forbids or that is taken already is changed. Returns the name it got.
    @discardableResult
    mutating func add(_ name: [UInt8], _ node: UInt32) -> [UInt8] {
        var name = Self.allowed(name, node)
        var attempt = 0
        while !names.insert(name).inserted {
            attempt += 1
            name = Self.extended(name, with: attempt == 1 ? "#\(node)" : "#\(node).\(attempt)")
        }
        entries.append(Entry(hash: NameHash.of(name.rawBytes), node: node, name: name))
        return name
    }

    /// A name as it is if it is allowed, else what can be kept of it with the node's number.
    private static func allowed(_ name: [UInt8], _ node: UInt32) -> [UInt8] {
        if problem(ofName: name.rawBytes) == nil { return name }
        var bytes = Array(String(decoding: name, as: UTF8.self).utf8)
        for index in bytes.indices where bytes[index] == 0 || bytes[index] == UInt8(ascii: "/") {
            bytes[index] = UInt8(ascii: "_")
        }
        return extended(bytes, with: "#\(node)")
    }

    /// A name with something behind it, shortened at a character's boundary so that both fit.
    private static func extended(_ name: [UInt8], with suffix: String) -> [UInt8] {
        var name = name.prefix(max(Limits.maximumNameLength - suffix.utf8.count, 0))
        while !name.isEmpty, !FileName.isUnicode(Array(name).rawBytes) {
            name = name.dropLast()
        }
        return Array(name) + Array(suffix.utf8)
    }

    /// Writes the hash tree; returns its depth, the pointer to its list or top block, and how many blocks it has.
    func write(_ writer: inout BlockWriter) throws(CheckError) -> (depth: Int, pointer: BlockPointer, blocks: UInt64) {
        if entries.isEmpty { return (0, .null, 0) }
        // Sorting by position, too, keeps the result the same whatever the sort does with equal hashes.
        let order = entries.indices.sorted { (entries[$0].hash, $0) < (entries[$1].hash, $1) }
        var level = try writeLists(order, &writer)
        var blocks = UInt64(level.count)
        var depth = 0
        while level.count > 1 {
            level = try writeHashTreeBlocks(level, &writer)
            blocks += UInt64(level.count)
            depth += 1
        }
        return (depth, level[0].pointer, blocks)
    }

    private func writeLists(
        _ order: [Int], _ writer: inout BlockWriter
    ) throws(CheckError) -> [(key: UInt32, pointer: BlockPointer)] {
        var result: [(key: UInt32, pointer: BlockPointer)] = []
        var from = 0
        while from < order.count {
            let block = AlignedBuffer(byteCount: Limits.blockSize)
            var bytes = block.mutableBytes
            var position = 0
            var count = 0
            while from + count < order.count {
                let entry = entries[order[from + count]]
                let length = StoredEntries.prefixLength + entry.name.count
                guard position + length <= StoredEntries.capacity else { break }
                bytes.setU32(entry.node, at: position)
                bytes.setU8(UInt8(entry.name.count), at: position + 4)
                bytes.copy(entry.name.rawBytes, at: position + StoredEntries.prefixLength)
                position += length
                count += 1
            }
            bytes.setU16(UInt16(count), at: 4092)
            bytes.setU16(UInt16(position), at: 4094)
            from += count
            result.append((entries[order[from - 1]].hash, try writer.write(block)))
        }
        return result
    }

    private func writeHashTreeBlocks(
        _ below: [(key: UInt32, pointer: BlockPointer)], _ writer: inout BlockWriter
    ) throws(CheckError) -> [(key: UInt32, pointer: BlockPointer)] {
        var result: [(key: UInt32, pointer: BlockPointer)] = []
        var from = 0
        while from < below.count {
            let count = min(StoredHashTree.entryCount, below.count - from)
            let block = AlignedBuffer(byteCount: Limits.blockSize)
            var bytes = block.mutableBytes
            for index in 0..<StoredHashTree.entryCount {
                let entry = index < count ? below[from + index] : (key: UInt32.max, pointer: BlockPointer.null)
                StoredHashTree.setEntry(&bytes, index, key: entry.key, entry.pointer)
            }
            from += count
            result.append((below[from - 1].key, try writer.write(block)))
        }
        return result
    }
}
