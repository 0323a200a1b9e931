// Adding a name: below the first entry whose hash is not smaller, else the last. A full list is split, and what is full
// above it; a split root gets a new root. Everything is planned first: the new blocks are known before anything changes.

import DiskFormat
import Platform

/// The planned place of a new name.
struct InsertionPlan: Sendable {
    /// Hash-tree blocks from the root down and the entries to follow.
    var steps: [DirectoryStep] = []
    /// The directory list; `noSlot` in a directory without any.
    var list: Slot = noSlot
}

/// A block that came into being beside another one.
private struct NewSibling {
    var slot: Slot
    /// The largest hash in it.
    var bound: UInt32
}

extension EngineState {
    /// Plans a name's insertion into a directory whose node is planned already. The name must not be there.
    mutating func planInsertion(_ directory: Slot, _ name: RawSpan) throws(Fault) -> InsertionPlan {
        var result = InsertionPlan()
        guard case .tree(let depth, let root) = try directoryContent(directory) else {
            plan.addBlocks(1)
            return result
        }
        let hash = NameHash.of(name)
        let owner = blocks.slots[directory].owner
        var pointer = root
        var parent = directory
        var parentIndex = 1
        for level in (1..<max(depth &+ 1, 1)).reversed() {
            let slot = try block(pointer, Self.directoryKind(level), owner: owner)
            touch(slot, parent: parent, parentIndex: parentIndex)
            guard let index = HashTreeBlock.insertionIndex(blocks.buffer(slot).bytes, hash) else {
                throw .corrupt(.hashTree, .value, block: pointer.address.number)
            }
            result.steps.append(DirectoryStep(slot: slot, index: index))
            parent = slot
            parentIndex = index
            pointer = HashTreeBlock.pointer(blocks.buffer(slot).bytes, index)
        }
        result.list = try block(pointer, .directoryList, owner: owner)
        touch(result.list, parent: parent, parentIndex: parentIndex)
        let used = DirectoryList.used(blocks.buffer(result.list).bytes)
        let size = DirectoryList.entrySize(nameLength: name.byteCount)
        if used &+ size > DirectoryList.capacity {
            plan.addBlocks(1)
            var isSplitting = true
            for step in result.steps.reversed() where isSplitting {
                isSplitting = HashTreeBlock.usedCount(blocks.buffer(step.slot).bytes) == HashTreeBlock.entryCount
                if isSplitting { plan.addBlocks(1) }
            }
            if isSplitting {
                guard depth < DirectoryRoot.maximumDepth else { throw .failed(.noSpace) }
                plan.addBlocks(1)
            }
        }
        return result
    }

    /// Adds a name as planned.
    mutating func insertEntry(_ directory: Slot, _ insertion: InsertionPlan, _ name: RawSpan, _ node: NodeID) {
        let owner = blocks.slots[directory].owner
        let hash = NameHash.of(name)
        guard insertion.list != noSlot else {
            let list = createBlock(.directoryList, owner: owner, parent: directory, parentIndex: 1)
            appendEntry(list, name, node)
            setRoot(directory, .tree(depth: 0, root: blocks.pointer(list)), addedBlocks: 1)
            return
        }
        var bound: UInt32
        var sibling: NewSibling?
        var added = 0
        if appendEntry(insertion.list, name, node) {
            bound = hash
            if let last = insertion.steps.last {
                bound = max(hash, HashTreeBlock.hash(blocks.buffer(last.slot).bytes, last.index))
            }
        } else {
            (bound, sibling) = splitList(insertion.list, owner, name, node)
            added &+= 1
        }
        for (position, step) in insertion.steps.enumerated().reversed() {
            let level = insertion.steps.count &- position
            blocks.change(step.slot) { bytes in
                let pointer = HashTreeBlock.pointer(bytes.bytes, step.index)
                HashTreeBlock.setEntry(&bytes, step.index, hash: bound, pointer)
            }
            if let new = sibling {
                sibling = insertChild(step.slot, step.index &+ 1, new, level, owner)
                if sibling != nil { added &+= 1 }
            }
            let bytes = blocks.buffer(step.slot)
            bound = HashTreeBlock.hash(bytes.bytes, max(0, HashTreeBlock.usedCount(bytes.bytes) &- 1))
        }
        if let sibling {
            growRoot(directory, depth: insertion.steps.count, owner, bound, sibling)
            added &+= 1
        }
        if added > 0 { addDirectoryBlocks(directory, added) }
    }

    /// Puts a new root above the old one and its sibling.
    private mutating func growRoot(
        _ directory: Slot, depth: Int, _ owner: UInt32, _ bound: UInt32, _ sibling: NewSibling
    ) {
        guard case .tree(_, let pointer)? = try? directoryContent(directory), let old = blocks.find(pointer) else {
            return
        }
        let root = createBlock(.hashTree(level: depth &+ 1), owner: owner, parent: directory, parentIndex: 1)
        let other = blocks.pointer(sibling.slot)
        blocks.change(root) { bytes in
            HashTreeBlock.clear(&bytes)
            HashTreeBlock.setEntry(&bytes, 0, hash: bound, pointer)
            HashTreeBlock.setEntry(&bytes, 1, hash: sibling.bound, other)
        }
        blocks.setParent(old, root)
        blocks.setParent(sibling.slot, root)
        setRoot(directory, .tree(depth: depth &+ 1, root: blocks.pointer(root)), addedBlocks: 0)
    }

    /// Adds an entry to a list; false if it is full.
    @discardableResult
    private mutating func appendEntry(_ list: Slot, _ name: RawSpan, _ node: NodeID) -> Bool {
        blocks.change(list) { bytes in (try? DirectoryList.append(&bytes, node: node, name: name)) ?? false }
    }

    /// Splits a full list with a new entry added. The largest hash that stays and the new list.
    private mutating func splitList(
        _ list: Slot, _ owner: UInt32, _ name: RawSpan, _ node: NodeID
    ) -> (UInt32, NewSibling) {
        // Hash above position: sorted, equal hashes stay in the order in which they came. The new entry is the last.
        var order: [UInt64] = []
        var entries: [DirectoryList.Entry] = []
        let old = blocks.buffer(list)
        try? DirectoryList.forEach(old.bytes) { entry in
            order.append(UInt64(NameHash.of(DirectoryList.name(old.bytes, entry))) &<< 32 | UInt64(entries.count))
            entries.append(entry)
            return true
        }
        order.append(UInt64(NameHash.of(name)) &<< 32 | UInt64(entries.count))
        order.sort()
        let hashes = order.map { UInt32(truncatingIfNeeded: $0 &>> 32) }
        let positions = order.map { Int(truncatingIfNeeded: $0 & 0xFFFF_FFFF) }
        let split = DirectorySplit.index(
            hashes,
            sizes: positions.map {
                DirectoryList.entrySize(nameLength: $0 < entries.count ? entries[$0].nameLength : name.byteCount)
            })
        let parent = blocks.slots[list].parent
        let sibling = createBlock(.directoryList, owner: owner, parent: parent, parentIndex: 0)
        for (target, part) in [(list, positions[..<split]), (sibling, positions[split...])] {
            blocks.change(target) { bytes in
                DirectoryList.clear(&bytes)
                for position in part {
                    if position < entries.count {
                        let entry = entries[position]
                        let oldName = DirectoryList.name(old.bytes, entry)
                        _ = try? DirectoryList.append(&bytes, node: entry.node, name: oldName)
                    } else {
                        _ = try? DirectoryList.append(&bytes, node: node, name: name)
                    }
                }
            }
        }
        return (hashes[split - 1], NewSibling(slot: sibling, bound: hashes[hashes.count - 1]))
    }

    /// Inserts a child into a hash-tree block; the sibling that comes into being if it is full.
    private mutating func insertChild(
        _ slot: Slot, _ index: Int, _ child: NewSibling, _ level: Int, _ owner: UInt32
    ) -> NewSibling? {
        let pointer = blocks.pointer(child.slot)
        let isInserted = blocks.change(slot) {
            HashTreeBlock.insert(&$0, at: index, hash: child.bound, pointer)
        }
        if isInserted {
            blocks.setParent(child.slot, slot)
            return nil
        }
        var entries: [(hash: UInt32, pointer: BlockPointer)] = []
        let buffer = blocks.buffer(slot)
        for position in 0..<HashTreeBlock.entryCount {
            entries.append((HashTreeBlock.hash(buffer.bytes, position), HashTreeBlock.pointer(buffer.bytes, position)))
        }
        entries.insert((child.bound, pointer), at: index)
        let split = DirectorySplit.index(entries.map(\.hash))
        let sibling = createBlock(
            .hashTree(level: level), owner: owner, parent: blocks.slots[slot].parent, parentIndex: 0)
        fill(slot, entries[..<split])
        fill(sibling, entries[split...])
        return NewSibling(slot: sibling, bound: entries[entries.count - 1].hash)
    }

    /// Makes a hash-tree block of entries, and the parent of those below that wait to be written.
    private mutating func fill(_ slot: Slot, _ entries: ArraySlice<(hash: UInt32, pointer: BlockPointer)>) {
        blocks.change(slot) { bytes in
            HashTreeBlock.clear(&bytes)
            for (index, entry) in entries.enumerated() {
                HashTreeBlock.setEntry(&bytes, index, hash: entry.hash, entry.pointer)
            }
        }
        for entry in entries {
            if let child = blocks.find(entry.pointer), blocks.slots[child].isDirty { blocks.setParent(child, slot) }
        }
    }

    /// Stores a directory's root.
    mutating func setRoot(_ directory: Slot, _ content: DirectoryRoot.Content, addedBlocks: Int) {
        blocks.change(directory) { DirectoryRoot.store(content, into: &$0) }
        if addedBlocks != 0 { addDirectoryBlocks(directory, addedBlocks) }
    }

    /// A directory has more or fewer blocks: its size follows.
    mutating func addDirectoryBlocks(_ directory: Slot, _ difference: Int) {
        addBlocks(directory, difference)
        blocks.change(directory) { bytes in
            let size = NodeBlock.size(bytes.bytes)
            let change = UInt64(difference.magnitude) &* UInt64(Limits.blockSize)
            NodeBlock.setSize(&bytes, difference < 0 ? (size > change ? size &- change : 0) : size &+ change)
        }
    }
}
