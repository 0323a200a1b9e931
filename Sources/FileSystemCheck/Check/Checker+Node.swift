import DiskFormat

extension Checker {
    /// Checks a node's own fields, its lists and its extension; directories are noted for later.
    mutating func checkNode(_ bytes: RawSpan, node: UInt32, block: UInt64) {
        let fields = NodeFields(bytes)
        let kind = fields.kind
        nodes.append(NodeTable.Row(number: node, links: fields.links, kind: kind, block: block))
        checkFields(fields, kind, node: node, block: block)
        var blocks: UInt64 = 1
        let attributes = checkExtension(bytes, node: node, block: block)
        blocks += attributes ?? 0
        if kind == .directory {
            checkDirectoryRoot(bytes, fields, node: node, block: block, otherBlocks: blocks)
            return
        }
        if !fields.isInline {
            // Only a directory has a marker: this was one, and its names are out of reach.
            if NodeFields.pointer(bytes, 0).isMarker {
                damage[node].losesNames = true
            }
            guard let mapped = checkRecords(bytes, fields, node: node, block: block) else { return }
            blocks += mapped
        }
        if attributes == nil { return }
        checkBlocks(fields.blocks, expected: blocks, node: node, block: block)
    }

    private mutating func checkFields(
        _ fields: NodeFields, _ kind: NodeKind?, node: UInt32, block: UInt64
    ) {
        if kind == nil {
            findings.add(
                .nodeModeInvalid, block: block, node: node,
                "type \(String(fields.mode >> 12, radix: 16)) of mode \(String(fields.mode, radix: 8)) is unknown")
            damage[node].hasWrongFields = true
        }
        // What has records keeps the level that they were written with.
        let isFree = kind == .file || kind == nil || kind != .directory && !fields.isInline
        let highest = isFree ? Limits.maximumRecordLevel : 0
        if fields.recordLevel > highest {
            findings.add(
                .nodeRecordLevelInvalid, block: block, node: node,
                "record level \(fields.recordLevel), at most \(highest) is allowed")
            damage[node].hasWrongFields = true
        }
        if fields.flags & ~NodeFields.inlineFlag != 0 || kind == .directory && fields.isInline {
            findings.add(
                .nodeFlagsInvalid, block: block, node: node, "flags \(String(fields.flags, radix: 16))")
            damage[node].hasWrongFields = true
        }
        for time in [fields.creation, fields.modification, fields.access] where time.nanoseconds > 999_999_999 {
            findings.add(.nodeTimeInvalid, block: block, node: node, "\(time.nanoseconds) nanoseconds")
            damage[node].hasWrongFields = true
            break
        }
        for time in [fields.creation, fields.modification, fields.access] where time.seconds > UInt64(Int64.max) {
            findings.add(.nodeSecondsInvalid, block: block, node: node, "\(time.seconds) seconds")
            damage[node].hasWrongFields = true
            break
        }
        if kind != .directory, fields.size > Self.maximumSize(recordLevel: fields.recordLevel) {
            findings.add(
                .nodeSizeInvalid, block: block, node: node,
                "size \(fields.size), its records can't reach beyond "
                    + "\(Self.maximumSize(recordLevel: fields.recordLevel))")
            damage[node].hasWrongFields = true
        }
    }

    /// The largest size of a file with the given record level, in bytes.
    static func maximumSize(recordLevel: UInt32) -> UInt64 {
        guard let layout = try? RecordLayout(recordLevel: min(recordLevel, Limits.maximumRecordLevel)) else { return 0 }
        return layout.maximumSize
    }

    mutating func checkBlocks(_ stored: UInt64, expected: UInt64, node: UInt32, block: UInt64) {
        if stored == expected { return }
        findings.add(
            stored > expected ? .nodeBlocksTooHigh : .nodeBlocksTooLow, block: block, node: node,
            "\(stored) blocks are stored, it has \(expected)")
        damage[node].hasWrongFields = true
    }

    /// Checks a directory's pointers: a marker and one pointer, or nothing (format: Directory).
    private mutating func checkDirectoryRoot(
        _ bytes: RawSpan, _ fields: NodeFields, node: UInt32, block: UInt64, otherBlocks: UInt64
    ) {
        var problem: String?
        var losesNames = false
        var depth = 0
        var pointer = BlockPointer.null
        // A directory never has inline data: under a wrong flag its pointers are still there.
        let marker = NodeFields.pointer(bytes, 0)
        if !fields.isInline || marker.isMarker {
            let root = NodeFields.pointer(bytes, 1)
            if marker.isMarker {
                depth = marker.address.level
                pointer = root
                if root.isNull {
                    problem = "a marker without a pointer"
                    losesNames = true
                } else if depth > Self.maximumHashTreeDepth {
                    problem = "a hash tree of depth \(depth)"
                    losesNames = true
                    pointer = .null
                }
            } else if !marker.isNull {
                problem = "\(marker) in place of the marker"
                losesNames = true
            } else if !root.isNull {
                problem = "a pointer without a marker"
                losesNames = true
            }
            for slot in 2..<RecordLayout.nodePointerCount where !NodeFields.pointer(bytes, slot).isNull {
                problem = "pointer \(slot) is \(NodeFields.pointer(bytes, slot))"
                break
            }
        }
        if let problem {
            findings.add(.directoryPointersInvalid, block: block, node: node, problem)
            damage[node].needsNewHashTree = true
            damage[node].losesNames = losesNames
        }
        directories.append(
            DirectoryRoot(
                node: node, block: block, depth: depth, pointer: pointer, size: fields.size, blocks: fields.blocks,
                expectedOtherBlocks: otherBlocks))
    }

    /// Hash-tree levels that no directory needs: 204 to the power of 7 lists are more than there are node numbers.
    static let maximumHashTreeDepth = 6
}
