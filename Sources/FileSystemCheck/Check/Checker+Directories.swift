import DiskFormat

/// A directory whose entries are being read, from the lowest hash up.
struct DirectoryWalk {
    let node: UInt32
    /// Hash-tree levels above the lists.
    let depth: Int
    /// Lists and hash-tree blocks.
    var blocks: UInt64 = 0
    var entries: UInt64 = 0
    /// The largest hash of all lists before.
    var highest: UInt32?
    /// The names with that hash: the only ones that may occur again in the next list.
    var namesAtHighest: [[UInt8]] = []
    /// Whether something below could not be read, so that nothing can be said about totals.
    var isIncomplete = false
}

/// What lies below an entry of a hash-tree block.
struct SubtreeHashes {
    /// The largest name hash, nil if there is no name.
    var highest: UInt32?
    /// The largest hash that its hash-tree block's entries carry; for a list the same as `highest`.
    var highestKey: UInt32?
}

extension Checker {
    /// Reads all directories: their hash trees, names, and which nodes they name.
    mutating func checkDirectories() {
        let roots = directories
        directories = []
        for (index, root) in roots.enumerated() {
            checkDirectory(root)
            tell(.directories, UInt64(index), of: UInt64(roots.count))
        }
    }

    private mutating func checkDirectory(_ root: DirectoryRoot) {
        var walk = DirectoryWalk(node: root.node, depth: root.depth)
        if !root.pointer.isNull {
            if claim(root.pointer, of: "the directory's pointer", node: root.node) != nil {
                damage[root.node].needsNewHashTree = true
                damage[root.node].losesNames = true
                walk.isIncomplete = true
            } else {
                descend([(0, root.pointer)], levels: root.depth, &walk) { _, _, _ in }
            }
        }
        if !walk.isIncomplete {
            checkTotals(root, walk)
        }
        if walk.entries > 0, let index = nodes.index(of: root.node) {
            nodes[index].marks.insert(.hasEntries)
        }
    }

    private mutating func checkTotals(_ root: DirectoryRoot, _ walk: DirectoryWalk) {
        let size = walk.blocks * UInt64(Limits.blockSize)
        if walk.entries == 0, walk.blocks > 0 {
            findings.add(
                .directoryNotCleared, block: root.block, node: root.node,
                "it has \(walk.blocks) blocks and no entries")
            damage[root.node].needsNewHashTree = true
        }
        if root.size != size {
            findings.add(
                .directorySizeWrong, block: root.block, node: root.node,
                "size \(root.size), its \(walk.blocks) lists and hash-tree blocks make \(size)")
            damage[root.node].hasWrongFields = true
        }
        checkBlocks(
            root.blocks, expected: walk.blocks + root.expectedOtherBlocks, node: root.node, block: root.block)
    }

    /// Reads lists (levels 0) or hash-tree blocks with so many levels below and including them.
    private mutating func descend(
        _ pointers: [(index: Int, pointer: BlockPointer)], levels: Int, _ walk: inout DirectoryWalk,
        each: (inout Checker, Int, SubtreeHashes) -> Void
    ) {
        forEachBlock(pointers) { checker, _, pointer, fault in
            walk.isIncomplete = true
            checker.damage[walk.node].needsNewHashTree = true
            checker.damage[walk.node].losesNames = true
            checker.findings.add(
                levels == 0 ? .directoryListUnreadable : .hashTreeBlockUnreadable, block: pointer.address.number,
                node: walk.node, "a \(levels == 0 ? "list of entries" : "hash-tree block"): \(fault)")
        } body: { checker, index, pointer, bytes in
            walk.blocks += 1
            let hashes =
                levels == 0
                ? checker.checkList(bytes, block: pointer.address.number, &walk)
                : checker.checkHashTree(bytes, block: pointer.address.number, levels: levels, &walk)
            each(&checker, index, hashes)
        }
    }

    private mutating func checkHashTree(
        _ bytes: RawSpan, block: UInt64, levels: Int, _ walk: inout DirectoryWalk
    ) -> SubtreeHashes {
        let node = walk.node
        var children: [(index: Int, pointer: BlockPointer)] = []
        var keys = [UInt32](repeating: .max, count: StoredHashTree.entryCount)
        var last: UInt32 = 0
        var lastUsed = -1
        var sawUnused = false
        var isOrdered = true
        for index in 0..<StoredHashTree.entryCount {
            let (key, pointer) = StoredHashTree.entry(bytes, index)
            keys[index] = key
            if pointer.isNull {
                sawUnused = true
                if key != .max {
                    isOrdered = false
                }
                continue
            }
            if sawUnused || key < last {
                isOrdered = false
            }
            last = key
            lastUsed = index
            if claim(pointer, of: "entry \(index) of a hash-tree block", node: node) != nil {
                walk.isIncomplete = true
                damage[node].needsNewHashTree = true
                damage[node].losesNames = true
            } else {
                children.append((index, pointer))
            }
        }
        if !isOrdered {
            findings.add(.hashTreeOrderWrong, block: block, node: node, "its entries are not in order")
            damage[node].needsNewHashTree = true
        }
        if lastUsed < 0 {
            findings.add(.hashTreeBlockEmpty, block: block, node: node, "it has no entries")
            damage[node].needsNewHashTree = true
            damage[node].losesNames = true
        }
        var result = SubtreeHashes()
        descend(children, levels: levels - 1, &walk) { checker, index, below in
            let key = keys[index]
            result.highest = Self.larger(result.highest, below.highest)
            result.highestKey = Self.larger(result.highestKey, key)
            // An empty list keeps what it had; a starting value of the reference may stay in the last place.
            let isRight =
                below.highest == nil && key != .max || key == below.highest || key == below.highestKey
                || key == .max - 1 && index == lastUsed
            if !isRight {
                checker.findings.add(
                    .hashTreeKeyWrong, block: block, node: node,
                    "entry \(index) has hash \(String(key, radix: 16)), the largest below it is "
                        + (below.highest.map { String($0, radix: 16) } ?? "none"))
                checker.damage[node].needsNewHashTree = true
            }
        }
        return result
    }

    private static func larger(_ one: UInt32?, _ other: UInt32?) -> UInt32? {
        guard let one else { return other }
        guard let other else { return one }
        return max(one, other)
    }

    /// Checks one directory list, entry by entry.
    private mutating func checkList(
        _ bytes: RawSpan, block: UInt64, _ walk: inout DirectoryWalk
    ) -> SubtreeHashes {
        let node = walk.node
        let before = walk.highest
        var places: [(hash: UInt32, position: Int)] = []
        var misplaced: UInt32?
        let stored = StoredEntries(bytes) { position, child, name in
            let hash = NameHash.of(name)
            places.append((hash, position))
            if let before, hash < before {
                misplaced = hash
            }
            checkEntry(child, name, in: node, block: block)
        }
        walk.entries += UInt64(places.count)
        if let problem = stored.problem {
            findings.add(.directoryListInvalid, block: block, node: node, problem)
            damage[node].needsNewHashTree = true
            if stored.isIncomplete {
                damage[node].losesNames = true
            }
        }
        if let misplaced {
            findings.add(
                .entryMisplaced, block: block, node: node,
                "a name with hash \(String(misplaced, radix: 16)) lies behind the list that is searched for it")
            damage[node].needsNewHashTree = true
        }
        if places.isEmpty { return SubtreeHashes() }
        places.sort { ($0.hash, $0.position) < ($1.hash, $1.position) }
        checkDuplicates(places, bytes, block: block, &walk)
        let highest = places[places.count - 1].hash
        return SubtreeHashes(highest: highest, highestKey: highest)
    }

    /// Compares the names with equal hashes, in this list and with the end of the lists before.
    private mutating func checkDuplicates(
        _ places: [(hash: UInt32, position: Int)], _ bytes: RawSpan, block: UInt64, _ walk: inout DirectoryWalk
    ) {
        func name(at position: Int) -> [UInt8] {
            let length = Int(bytes.u8(at: position + 4))
            let start = position + StoredEntries.prefixLength
            return bytes.extracting(start..<start + length).copyToArray()
        }
        var from = 0
        while from < places.count {
            let hash = places[from].hash
            var to = from + 1
            while to < places.count, places[to].hash == hash { to += 1 }
            let continues = walk.highest == hash
            if to - from > 1 || continues || to == places.count {
                var names = continues ? walk.namesAtHighest : []
                for place in places[from..<to] {
                    let name = name(at: place.position)
                    if names.contains(name) {
                        findings.add(
                            .nameDuplicate, block: block, node: walk.node,
                            "the name \(printable(name)) occurs twice")
                        damage[walk.node].needsNewHashTree = true
                    } else {
                        names.append(name)
                    }
                }
                if walk.highest.map({ hash >= $0 }) ?? true {
                    walk.highest = hash
                    walk.namesAtHighest = names
                }
            }
            from = to
        }
    }

    private mutating func checkEntry(_ child: UInt32, _ name: RawSpan, in directory: UInt32, block: UInt64) {
        if let problem = problem(ofName: name) {
            findings.add(
                .nameInvalid, block: block, node: directory,
                "the name \(printable(name.copyToArray())) of node \(child): \(problem)")
            damage[directory].needsNewHashTree = true
        }
        guard let index = nodes.index(of: child) else {
            findings.add(
                .entryDangling, block: block, node: directory,
                "the name \(printable(name.copyToArray())) is that of node \(child), which is not there")
            damage[directory].needsNewHashTree = true
            damage.addDangling(child, in: directory)
            return
        }
        let isFirst = nodes[index].references == 0
        if nodes[index].kind == .directory, !isFirst || child == NodeID.root.rawValue {
            findings.add(
                .directoryLinkedTwice, block: block, node: child,
                "the name \(printable(name.copyToArray())) in directory \(directory) is another one of a directory")
            damage[directory].needsNewHashTree = true
            return
        }
        nodes[index].references &+= 1
        if isFirst {
            nodes[index].parent = directory
        }
    }
}

/// The entries of a hash-tree block as they are stored.
enum StoredHashTree {
    static let entryCount = 204

    /// An entry: the largest hash below, and where that is (format: Directory).
    static func entry(_ block: RawSpan, _ index: Int) -> (key: UInt32, pointer: BlockPointer) {
        (block.u32(at: index * 20), BlockPointer(block, at: index * 20 + 4))
    }

    static func setEntry(_ block: inout MutableRawSpan, _ index: Int, key: UInt32, _ pointer: BlockPointer) {
        block.setU32(key, at: index * 20)
        pointer.encode(into: &block, at: index * 20 + 4)
    }
}

/// A name in quotes, with what isn't printable ASCII or UTF-8 written as \xNN.
func printable(_ name: [UInt8]) -> String {
    let isText = FileName.isUnicode(name.rawBytes)
    var text = "\""
    if isText {
        for scalar in String(decoding: name, as: UTF8.self).unicodeScalars {
            // Those from 128 on are controls too: a terminal may take one for an escape.
            if scalar.value < 32 || (127..<160).contains(scalar.value) {
                for byte in String(scalar).utf8 { text += "\\x" + hexadecimal(byte) }
            } else {
                text.unicodeScalars.append(scalar)
            }
        }
    } else {
        for byte in name {
            text += byte >= 32 && byte < 127 ? String(UnicodeScalar(byte)) : "\\x" + hexadecimal(byte)
        }
    }
    return text + "\""
}

/// A byte as two digits.
func hexadecimal(_ byte: UInt8) -> String {
    (byte < 16 ? "0" : "") + String(byte, radix: 16)
}
