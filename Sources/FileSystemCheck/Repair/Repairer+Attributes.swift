import DiskFormat
import Platform

extension Repairer {
    /// Puts right a node's extension and writes its attributes anew if some of them can't be read; returns how many
    /// blocks they take.
    mutating func repairAttributes(
        _ node: UInt32, _ block: AlignedBuffer, _ damage: NodeDamage
    ) throws(CheckError) -> UInt64 {
        var bytes = block.mutableBytes
        if damage.losesExtension {
            bytes.fill(NodeBlock.Offset.padding..<NodeBlock.Offset.content)
            return 0
        }
        guard NodeExtension.state(bytes.bytes) == .present else { return 0 }
        let nanoseconds = NodeExtension.Offset.changeTime + 8
        bytes.setU32(min(bytes.bytes.u32(at: nanoseconds), 999_999_999), at: nanoseconds)
        let first = NodeExtension.attributes(bytes.bytes)
        guard !first.isNull else { return 0 }
        let found = readAttributes(first, node: node)
        guard damage.losesAttributes || !found.isComplete else { return found.blocks }
        losses.append(Loss(node: node, "extended attributes that can't be read"))
        let (pointer, blocks) = try writeAttributes(found.attributes, node: node)
        pointer.encode(into: &bytes, at: NodeExtension.Offset.attributes)
        return blocks
    }

    private struct FoundAttributes {
        var attributes: [(name: [UInt8], value: [UInt8])] = []
        var blocks: UInt64 = 0
        var isComplete = true
    }

    /// Reads what can be read of a chain of attribute tables.
    private func readAttributes(_ first: BlockPointer, node: UInt32) -> FoundAttributes {
        var found = FoundAttributes()
        var visited = BlockBitmap(blockCount: reader.blockCount)
        var names: Set<[UInt8]> = []
        var pointer = first
        while !pointer.isNull {
            let level = pointer.address.level
            guard level <= AttributeTable.maximumLevel, visited.insert(pointer.address.blocks) == 0,
                let table = try? reader.readVerified(pointer), (try? AttributeTable.check(table.bytes)) != nil,
                AttributeTable.owner(table.bytes).rawValue == node
            else {
                found.isComplete = false
                return found
            }
            found.blocks += pointer.address.blockCount
            var offset = AttributeTable.headerSize
            while let entry = try? AttributeTable.entry(table.bytes, at: offset) {
                offset = entry.end
                let name = table.bytes.extracting(entry.nameRange).copyToArray()
                guard let value = readValue(entry, table), names.insert(name).inserted else {
                    found.isComplete = false
                    continue
                }
                found.blocks += entry.valuePointer?.address.blockCount ?? 0
                found.attributes.append((name, value))
            }
            pointer = AttributeTable.next(table.bytes)
        }
        return found
    }

    private func readValue(_ entry: AttributeTable.Entry, _ table: AlignedBuffer) -> [UInt8]? {
        guard let pointer = entry.valuePointer else { return table.bytes.extracting(entry.valueRange).copyToArray() }
        guard pointer.address.level <= AttributeTable.maximumValueLevel, !pointer.address.isCompressed,
            let block = try? reader.readVerified(pointer), entry.valueLength <= block.byteCount
        else { return nil }
        return block.bytes.extracting(0..<entry.valueLength).copyToArray()
    }

    /// Writes a chain of tables, the last one first; values that would fill a table get blocks of their own.
    private mutating func writeAttributes(
        _ attributes: [(name: [UInt8], value: [UInt8])], node: UInt32
    ) throws(CheckError) -> (BlockPointer, blocks: UInt64) {
        var next = BlockPointer.null
        var blocks: UInt64 = 0
        var index = 0
        while index < attributes.count {
            let table = AlignedBuffer(byteCount: Limits.blockSize)
            var bytes = table.mutableBytes
            AttributeTable.clear(&bytes, owner: NodeID(node))
            AttributeTable.setNext(&bytes, next)
            while index < attributes.count {
                let (name, value) = attributes[index]
                if value.count <= Limits.blockSize / 4 {
                    guard AttributeTable.append(&bytes, name: name.rawBytes, value: value.rawBytes) else { break }
                } else {
                    let room = bytes.byteCount - AttributeTable.headerSize - AttributeTable.used(bytes.bytes)
                    guard AttributeTable.entrySize(nameLength: name.count, inlineValueLength: nil) <= room else {
                        break
                    }
                    var level = 0
                    while Limits.blockSize << level < value.count { level += 1 }
                    let block = AlignedBuffer(byteCount: Limits.blockSize << level)
                    block.copyBytes(from: value.rawBytes, at: 0)
                    let pointer = try writer.write(block, level: level)
                    _ = AttributeTable.append(&bytes, name: name.rawBytes, valueLength: value.count, at: pointer)
                    blocks += pointer.address.blockCount
                }
                index += 1
            }
            next = try writer.write(table)
            blocks += 1
        }
        return (next, blocks)
    }
}
