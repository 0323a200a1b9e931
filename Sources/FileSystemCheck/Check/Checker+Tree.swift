import DiskFormat

extension Checker {
    /// Walks the tree from node numbers to nodes, and checks each node with its lists.
    mutating func checkTree() {
        guard !roots.tree.isNull else {
            findings.add(.treeMissing, "the header has no tree")
            damage.treeIsMissing = true
            damage.rootIsMissing = true
            return
        }
        guard claim(roots.tree, of: "the header's tree pointer") == nil else {
            damage.treeIsMissing = true
            damage.rootIsMissing = true
            return
        }
        forEachBlock([(0, roots.tree)]) { checker, _, pointer, fault in
            checker.findings.add(.treeBlockUnreadable, block: pointer.address.number, "the top tree block: \(fault)")
            checker.damage.treeIsMissing = true
        } body: { checker, _, pointer, bytes in
            _ = checker.checkTreeBlock(bytes, block: pointer.address.number, level: 3, prefix: 0)
        }
        guard let root = nodes.index(of: NodeID.root.rawValue) else {
            findings.add(.rootMissing, node: 1, "the tree has no node 1")
            damage.rootIsMissing = true
            return
        }
        if nodes[root].kind != .directory {
            findings.add(.rootNotDirectory, block: nodes[root].block, node: 1, "node 1 is no directory")
            damage.rootIsNoDirectory = true
        }
    }

    /// Checks a tree block and all below it; returns whether nothing is free under it, nil if that can't be said.
    private mutating func checkTreeBlock(
        _ bytes: RawSpan, block: UInt64, level: Int, prefix: UInt32
    ) -> Bool? {
        let position = TreePosition(level: level, prefix: prefix)
        let isFirstLeaf = level == 0 && prefix == 0
        var children: [(index: Int, pointer: BlockPointer)] = []
        var pointers = 0
        // What each bit should be; nil where the child can't be read, so that nothing can be said.
        var expected = [Bool?](repeating: false, count: TreeBlock.pointerCount)
        for index in 0..<TreeBlock.pointerCount {
            let pointer = TreeBlock.pointer(bytes, index)
            if isFirstLeaf, index == 0 {
                expected[0] = true
                if !pointer.isNull {
                    findings.add(.treeReservedSlotUsed, block: block, "the tree has a node 0 at \(pointer.address)")
                    damage.treeBlocks.insert(position)
                }
                continue
            }
            if pointer.isNull {
                if level > 0, checkNull(pointer, of: "pointer \(index) of tree level \(level)", block: block) {
                    damage.treeBlocks.insert(position)
                }
                continue
            }
            pointers += 1
            let child = prefix | UInt32(index) << UInt32(level * 8)
            let what = level == 0 ? "the tree's pointer to node \(child)" : "a pointer of tree level \(level)"
            if claim(pointer, of: what, node: level == 0 ? child : nil) != nil {
                damage.lostTreePositions.insert(TreePosition(level: level - 1, prefix: child))
                expected[index] = nil
                continue
            }
            expected[index] = level == 0 ? true : nil
            children.append((index, pointer))
        }
        if pointers == 0 {
            findings.add(.treeBlockEmpty, block: block, "a tree block of level \(level) has no pointers")
            damage.treeBlocks.insert(position)
        }
        if level == 0 {
            checkNodes(children, prefix: prefix)
        } else {
            checkChildren(children, level: level, prefix: prefix, isFull: &expected)
        }
        var wrong: [Int] = []
        for index in 0..<TreeBlock.pointerCount {
            if let isFull = expected[index], isFull != TreeBlock.isFull(bytes, index) {
                wrong.append(index)
            }
        }
        if !wrong.isEmpty || !TreeBlock.hasClearSpareBits(bytes) {
            let bits = wrong.isEmpty ? "254 and 255" : wrong.prefix(8).map(String.init).joined(separator: ", ")
            findings.add(
                .treeBitmapWrong, block: block,
                "the bitmap of a tree block of level \(level) is wrong at \(bits)\(wrong.count > 8 ? ", ..." : "")")
            damage.treeBlocks.insert(position)
        }
        if expected.contains(false) { return false }
        return expected.contains(nil) ? nil : true
    }

    private mutating func checkChildren(
        _ children: [(index: Int, pointer: BlockPointer)], level: Int, prefix: UInt32, isFull: inout [Bool?]
    ) {
        var full: [(Int, Bool?)] = []
        forEachBlock(children) { checker, index, pointer, fault in
            let child = prefix | UInt32(index) << UInt32(level * 8)
            checker.findings.add(
                .treeBlockUnreadable, block: pointer.address.number,
                "the tree block for nodes from \(child) on: \(fault)")
            checker.damage.lostTreePositions.insert(TreePosition(level: level - 1, prefix: child))
        } body: { checker, index, pointer, bytes in
            let child = prefix | UInt32(index) << UInt32(level * 8)
            full.append(
                (
                    index,
                    checker.checkTreeBlock(bytes, block: pointer.address.number, level: level - 1, prefix: child)
                ))
        }
        for (index, value) in full {
            isFull[index] = value
        }
    }

    private mutating func checkNodes(_ children: [(index: Int, pointer: BlockPointer)], prefix: UInt32) {
        forEachBlock(children) { checker, index, pointer, fault in
            let node = prefix | UInt32(index)
            checker.findings.add(
                .nodeUnreadable, block: pointer.address.number, node: node, "node \(node): \(fault)")
            checker.damage.lostTreePositions.insert(TreePosition(level: -1, prefix: node))
        } body: { checker, index, pointer, bytes in
            checker.checkNode(bytes, node: prefix | UInt32(index), block: pointer.address.number)
            checker.tell(.nodes, UInt64(checker.nodes.rows.count), of: 0)
        }
    }
}
