import DiskFormat

extension Checker {
    /// Reads the release list: nodes that lost their last name while they were open (format: Release list).
    mutating func checkReleaseList() {
        var pointer = roots.releaseList
        var position = 0
        var second: UInt64?
        checkNull(pointer, of: "the header's release list", block: roots.generation.ringBlock)
        while !pointer.isNull {
            if claim(pointer, of: "block \(position) of the release list") != nil {
                break
            }
            do throws(BlockReader.Fault) {
                let buffer = try reader.readVerified(pointer)
                for entry in 0..<1020 {
                    let node = buffer.bytes.u32(at: BlockPointer.byteCount + entry * 4)
                    if node != 0 {
                        checkReleased(node, block: pointer.address.number)
                    }
                }
                if position == 1 {
                    second = pointer.address.number
                }
                pointer = BlockPointer(buffer.bytes, at: 0)
                position += 1
            } catch {
                findings.add(
                    .releaseListUnreadable, block: pointer.address.number,
                    "block \(position) of the release list: \(error)")
                break
            }
        }
        if let second {
            findings.add(.releaseListLong, block: second, "it has \(position) blocks")
        }
    }

    private mutating func checkReleased(_ node: UInt32, block: UInt64) {
        guard let index = nodes.index(of: node) else {
            findings.add(.releaseEntryDangling, block: block, node: node, "node \(node) is not there")
            return
        }
        guard !nodes[index].marks.contains(.released) else {
            findings.add(.releaseEntryTwice, block: block, node: node, "node \(node) is listed again")
            return
        }
        guard nodes[index].references == 0, node != NodeID.root.rawValue else {
            findings.add(
                .releaseEntryNamed, block: block, node: node,
                "node \(node) has \(nodes[index].references) names, and would be deleted")
            return
        }
        if nodes[index].marks.contains(.hasEntries) {
            findings.add(
                .releasedDirectoryNotEmpty, block: block, node: node, "directory \(node) has entries, and would be lost"
            )
            damage.orphans.append(node)
            return
        }
        nodes[index].marks.insert(.released)
        released.append(node)
    }
}
