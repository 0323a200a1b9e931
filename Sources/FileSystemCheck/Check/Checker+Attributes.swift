import DiskFormat
import Platform

extension Checker {
    /// Checks the extension in a node's padding and the attributes it points to; returns how many blocks they take, nil
    /// if that isn't known.
    mutating func checkExtension(_ bytes: RawSpan, node: UInt32, block: UInt64) -> UInt64? {
        switch NodeExtension.state(bytes) {
        case .absent, .unknown:
            return 0
        case .foreign:
            findings.add(
                .extensionInvalid, block: block, node: node,
                "the extension belongs to a node with another creation time")
            damage[node].losesExtension = true
            return 0
        case .present:
            break
        }
        let nanoseconds = bytes.u32(at: NodeExtension.Offset.changeTime + 8)
        if nanoseconds > 999_999_999 {
            findings.add(.extensionInvalid, block: block, node: node, "a change time with \(nanoseconds) nanoseconds")
            damage[node].hasWrongFields = true
        }
        let pointer = NodeExtension.attributes(bytes)
        return pointer.isNull ? 0 : checkAttributes(pointer, node: node)
    }

    private mutating func checkAttributes(_ first: BlockPointer, node: UInt32) -> UInt64? {
        var blocks: UInt64 = 0
        var pointer = first
        var names: Set<[UInt8]> = []
        var isComplete = true
        while !pointer.isNull {
            guard let claimed = claimAttributes(pointer, node: node, highest: AttributeTable.maximumLevel) else {
                return nil
            }
            blocks += claimed
            do throws(BlockReader.Fault) {
                let table = try reader.readVerified(pointer)
                let problem = checkTable(table.bytes, node: node, names: &names, blocks: &blocks, &isComplete)
                if let problem {
                    findings.add(.attributesInvalid, block: pointer.address.number, node: node, problem)
                    damage[node].losesAttributes = true
                    return nil
                }
                pointer = AttributeTable.next(table.bytes)
            } catch {
                findings.add(
                    .attributesUnreadable, block: pointer.address.number, node: node, "a table of attributes: \(error)")
                damage[node].losesAttributes = true
                return nil
            }
        }
        return isComplete ? blocks : nil
    }

    /// Checks the entries of a table; returns what is wrong with the table itself.
    private mutating func checkTable(
        _ table: RawSpan, node: UInt32, names: inout Set<[UInt8]>, blocks: inout UInt64, _ isComplete: inout Bool
    ) -> String? {
        do throws(FormatError) {
            try AttributeTable.check(table)
            if AttributeTable.owner(table).rawValue != node {
                return "the table is that of node \(AttributeTable.owner(table))"
            }
            var offset = AttributeTable.headerSize
            while let entry = try AttributeTable.entry(table, at: offset) {
                offset = entry.end
                let name = table.extracting(entry.nameRange).copyToArray()
                if !names.insert(name).inserted { return "the attribute \(printable(name)) occurs twice" }
                guard let value = entry.valuePointer else { continue }
                guard let claimed = claimAttributes(value, node: node, highest: AttributeTable.maximumValueLevel) else {
                    isComplete = false
                    continue
                }
                blocks += claimed
                if entry.valueLength > value.address.byteCount {
                    return "the value of \(printable(name)) has \(entry.valueLength) bytes in \(value.address)"
                }
                if options.verifyData {
                    queue(RecordQueue.Item(pointer: value, node: node, record: RecordQueue.attributeValue))
                }
            }
            return nil
        } catch {
            return "\(error)"
        }
    }

    /// Notes that a block of attributes is in use; returns how many blocks it has, nil if it can't be followed.
    private mutating func claimAttributes(_ pointer: BlockPointer, node: UInt32, highest: Int) -> UInt64? {
        if pointer.address.level > highest || pointer.address.isCompressed {
            findings.add(
                .pointerLevelInvalid, block: pointer.address.number, node: node,
                "a block of attributes is \(pointer.address)")
            damage[node].losesAttributes = true
            return nil
        }
        if claim(pointer, of: "a pointer to attributes", node: node, isRecord: true) != nil {
            damage[node].losesAttributes = true
            return nil
        }
        return pointer.address.blockCount
    }
}
