import DiskFormat
import Platform

/// The value of an extended attribute.
enum AttributeValue: Sendable {
    /// In the table.
    case inline([UInt8])
    /// In a block of its own on disk.
    case stored(BlockPointer, length: Int)
    /// To be written to a block of its own.
    case fresh(AlignedBuffer, length: Int)

    /// Values above this get a block of their own.
    static let maximumInline = 1024

    /// How many bytes the value has.
    var length: Int {
        switch self {
        case .inline(let bytes): bytes.count
        case .stored(_, let length), .fresh(_, let length): length
        }
    }

    /// How many bytes it takes in the table, nil for a pointer.
    var inlineLength: Int? {
        if case .inline(let bytes) = self { return bytes.count }
        return nil
    }
}

/// An extended attribute.
struct AttributeEntry: Sendable {
    var name: [UInt8]
    var value: AttributeValue

    /// How many bytes it takes in a table.
    var size: Int { AttributeTable.entrySize(nameLength: name.count, inlineValueLength: value.inlineLength) }
}

/// All extended attributes of a node, decoded. Written anew as a whole when one changes; large values stay where they are.
struct AttributeSet: Sendable {
    /// In the order in which they were set.
    var entries: [AttributeEntry] = []
    /// The tables on disk.
    var tables: [BlockAddress] = []
    /// Others than on disk.
    var isDirty = false
    /// What is promised to it while it is dirty.
    var reserved = Demand.none
    /// How many objects that is.
    var reservedObjects = 0

    /// The index of a name.
    func index(of name: RawSpan) -> Int? {
        for (index, entry) in entries.enumerated() {
            let candidate = entry.name.rawBytes
            if candidate.isEqual(to: name) { return index }
        }
        return nil
    }

    /// The tables that the entries fill: which of them, and the level of the table's block.
    func tableLayout() -> [(entries: Range<Int>, level: Int)] {
        var result: [(Range<Int>, Int)] = []
        var start = 0
        let limit = Limits.blockSize &<< AttributeTable.maximumLevel
        while start < entries.count {
            var used = AttributeTable.headerSize
            var end = start
            while end < entries.count, used + entries[end].size <= limit {
                used += entries[end].size
                end += 1
            }
            result.append((start..<max(end, start + 1), Self.level(for: used)))
            start = max(end, start + 1)
        }
        return result
    }

    /// What it needs at most when it is written.
    func demand() -> (demand: Demand, objects: Int) {
        var demand = Demand.none
        var objects = 0
        for table in tableLayout() {
            demand[table.level] += 1
            objects += 1
        }
        for entry in entries {
            if case .fresh(_, let length) = entry.value {
                demand[Self.level(for: length)] += 1
                objects += 1
            }
        }
        return (demand, objects)
    }

    /// The level of the smallest block that holds so many bytes.
    static func level(for byteCount: Int) -> Int {
        var level = 0
        while level < Int(Limits.maximumRecordLevel), Limits.blockSize &<< level < byteCount { level += 1 }
        return level
    }
}

/// The decoded attributes of nodes that were asked for lately, and of all that changed.
struct AttributeCache: Sendable {
    private static let maximumCount = 1024

    private var sets: [UInt32: AttributeSet] = [:]
    /// Nodes whose attributes changed, in order.
    private(set) var dirty: [UInt32] = []

    /// The attributes of a node, if they are in memory.
    subscript(node: UInt32) -> AttributeSet? { sets[node] }

    /// Keeps the attributes of a node.
    mutating func set(_ node: UInt32, _ set: AttributeSet) {
        if sets.count >= Self.maximumCount, sets[node] == nil {
            sets = sets.filter { $0.value.isDirty }
        }
        if set.isDirty, sets[node]?.isDirty != true { dirty.append(node) }
        sets[node] = set
    }

    /// Forgets a node.
    mutating func remove(_ node: UInt32) {
        if let set = sets.removeValue(forKey: node), set.isDirty { dirty.removeAll { $0 == node } }
    }

    /// The blocks that the next commit writes for attributes.
    func encodeDirty(pool: BufferPool) -> EncodedAttributes {
        var result = EncodedAttributes()
        for node in dirty {
            guard let set = sets[node] else { continue }
            var item = EncodedAttributes.Item(node: node, firstLevel: result.levels.count, layout: set.tableLayout())
            for entry in set.entries {
                if case .fresh(_, let length) = entry.value {
                    result.levels.append(AttributeSet.level(for: length))
                    item.valueCount += 1
                }
            }
            for table in item.layout { result.levels.append(table.level) }
            result.items.append(item)
        }
        return result
    }

    /// A commit wrote the attributes of a node.
    mutating func clean(_ node: UInt32, _ set: AttributeSet) {
        var set = set
        set.isDirty = false
        set.reserved = .none
        set.reservedObjects = 0
        sets[node] = set
    }

    /// A commit is sealed: nothing is dirty.
    mutating func clearDirty() { dirty.removeAll(keepingCapacity: true) }
}

/// Which blocks a commit needs for attributes.
struct EncodedAttributes: Sendable {
    /// A node's part.
    struct Item: Sendable {
        var node: UInt32
        /// Its first block among all.
        var firstLevel: Int
        /// Blocks of values come first.
        var valueCount = 0
        /// Then the tables.
        var layout: [(entries: Range<Int>, level: Int)]
    }

    /// The nodes.
    var items: [Item] = []
    /// The level of each block.
    var levels: [Int] = []
}

extension EngineState {
    /// Gives attributes their places and writes them.
    mutating func patch(_ encoded: EncodedAttributes, _ places: [BlockAddress], _ builder: inout SealBuilder) {
        for item in encoded.items {
            guard var set = attributeSets[item.node], let node = blocks.findNode(item.node) else { continue }
            var next = item.firstLevel
            for index in set.entries.indices {
                guard case .fresh(let buffer, let length) = set.entries[index].value else { continue }
                let address = places[next]
                next &+= 1
                let hash = SeaHash.hash(buffer.bytes(0..<address.byteCount))
                set.entries[index].value = .stored(BlockPointer(address: address, hash: hash), length: length)
                builder.write(address.number, buffer, level: address.level)
            }
            for address in set.tables { space.free(address) }
            set.tables = Array(places[next..<next &+ item.layout.count])
            var following = BlockPointer.null
            for (table, address) in zip(item.layout, set.tables).reversed() {
                let buffer = AlignedBuffer(byteCount: address.byteCount)
                var bytes = buffer.mutableBytes
                AttributeTable.clear(&bytes, owner: NodeID(item.node))
                AttributeTable.setNext(&bytes, following)
                for entry in set.entries[table.entries] {
                    switch entry.value {
                    case .inline(let value):
                        _ = AttributeTable.append(&bytes, name: entry.name.rawBytes, value: value.rawBytes)
                    case .stored(let pointer, let length):
                        _ = AttributeTable.append(
                            &bytes, name: entry.name.rawBytes, valueLength: length, at: pointer)
                    case .fresh: continue
                    }
                }
                following = BlockPointer(address: address, hash: SeaHash.hash(bytes.bytes))
                builder.write(address.number, buffer, level: address.level)
            }
            blocks.change(node) { bytes in
                var fields = NodeExtension(bytes.bytes)
                fields.attributes = following
                fields.encode(into: &bytes)
            }
            attributeSets.clean(item.node, set)
        }
        attributeSets.clearDirty()
    }
}
