extension Rule {
    /// How much a breach of the rule matters.
    public var severity: Severity {
        switch self {
        case .headerTorn, .headerForeign, .nullPointerLevels, .treeBlockEmpty, .nodeBlocksTooHigh,
            .nodeTimeInvalid, .listEmpty, .releasedNodeLinks, .releaseListLong, .extensionInvalid:
            .benign
        case .blockLeaked, .recordsBeyondEnd:
            .leak
        case .headerMisplaced, .headerSizeWrong, .headerEncryptedHashWrong, .treeBitmapWrong, .treeReservedSlotUsed,
            .nodeModeInvalid,
            .nodeLinksWrong, .nodeBlocksTooLow, .nodeRecordLevelInvalid, .nodeFlagsInvalid, .nodeSizeInvalid,
            .nodeSecondsInvalid, .nodeOrphaned, .recordLevelInvalid, .directoryPointersInvalid, .directorySizeWrong,
            .directoryNotCleared, .directoryLinkedTwice, .directoryCycle, .hashTreeBlockEmpty,
            .hashTreeOrderWrong, .hashTreeKeyWrong, .entryMisplaced, .entryDangling, .nameInvalid, .nameDuplicate,
            .releaseEntryDangling, .releaseEntryNamed, .releaseEntryTwice, .releasedDirectoryNotEmpty:
            .inconsistency
        case .generationNotWhole, .pointerOutOfRange, .pointerLevelInvalid, .blockUsedTwice, .blockUsedAndFree,
            .treeMissing, .treeBlockUnreadable, .rootMissing, .rootNotDirectory, .nodeUnreadable, .listUnreadable,
            .recordUnreadable, .compressedRecordInvalid, .directoryListUnreadable, .directoryListInvalid,
            .hashTreeBlockUnreadable, .logMissing, .logUnreadable, .logEntryOutOfRange, .logAllocatesUsed,
            .logFreesFree, .releaseListUnreadable, .attributesUnreadable, .attributesInvalid:
            .corruption
        }
    }

    /// One sentence: what the rule demands.
    public var summary: String {
        switch self {
        case .headerTorn: "a block of the header ring is a whole header or has never been written"
        case .headerMisplaced: "the header of generation g lies in block g mod 256"
        case .headerForeign: "all headers of the ring belong to one file system"
        case .headerSizeWrong: "the size in the header is whole blocks and not beyond the device"
        case .headerEncryptedHashWrong: "a header says rightly whether the disk is encrypted, and its keys open it"
        case .generationNotWhole: "the metadata of the newest generation can be read"
        case .pointerOutOfRange: "a pointer points into the file system, behind the header ring"
        case .pointerLevelInvalid: "the level of a pointer fits what it points to"
        case .nullPointerLevels: "a null pointer to metadata has no level, which the reference trips over"
        case .blockUsedTwice: "a block has one owner"
        case .blockUsedAndFree: "a block in use is not free"
        case .blockLeaked: "a block is either in use or free"
        case .treeMissing: "the header points to a tree"
        case .treeBlockUnreadable: "a tree block can be read and has the hash of its pointer"
        case .treeBitmapWrong: "a tree block's bitmap says what is full"
        case .treeBlockEmpty: "a tree block without pointers is freed"
        case .treeReservedSlotUsed: "node 0 does not exist"
        case .rootMissing: "node 1 exists"
        case .rootNotDirectory: "node 1 is a directory"
        case .nodeUnreadable: "a node can be read and has the hash of its pointer"
        case .nodeModeInvalid: "a node's type is a known one"
        case .nodeLinksWrong: "a node's links are the number of its names, 1 for a directory"
        case .nodeBlocksTooHigh: "a node counts no more blocks than it has"
        case .nodeBlocksTooLow: "a node counts all blocks that it has"
        case .nodeRecordLevelInvalid: "a node's record level is 0 to 5, 0 for all but files"
        case .nodeFlagsInvalid: "a node has known flags only, a directory none"
        case .nodeSizeInvalid: "a node's size is one that its records can reach"
        case .nodeTimeInvalid: "nanoseconds are below 1,000,000,000"
        case .nodeSecondsInvalid: "a time's seconds fit 63 bits: the reference knows none before 1970"
        case .nodeOrphaned: "a node has a name or waits on the release list"
        case .listUnreadable: "a list of pointers can be read and has the hash of its pointer"
        case .listEmpty: "a list without pointers is freed"
        case .recordLevelInvalid: "a record is no larger than its node's records"
        case .recordsBeyondEnd: "no record lies wholly behind the end of its file"
        case .recordUnreadable: "a record can be read and has the hash of its pointer"
        case .compressedRecordInvalid: "a compressed record can be decompressed"
        case .directoryPointersInvalid: "a directory has a marker and one pointer, or nothing"
        case .directoryListUnreadable: "a directory list can be read and has the hash of its pointer"
        case .directoryListInvalid: "the entries of a directory list fill just what it says is in use"
        case .directorySizeWrong: "a directory's size is that of its lists and hash-tree blocks"
        case .directoryNotCleared: "a directory without entries has no blocks"
        case .directoryLinkedTwice: "a directory has one name"
        case .directoryCycle: "every directory can be reached from the root"
        case .hashTreeBlockUnreadable: "a hash-tree block can be read and has the hash of its pointer"
        case .hashTreeBlockEmpty: "a hash-tree block has entries"
        case .hashTreeOrderWrong: "the entries of a hash-tree block are sorted, unused ones last"
        case .hashTreeKeyWrong: "an entry's hash is the largest name hash below it"
        case .entryMisplaced: "a name lies in the list that a look-up of it reads"
        case .entryDangling: "a directory entry names a node that exists"
        case .nameInvalid: "a name has 1 to 252 bytes of UTF-8 without NUL and '/', and is not '.' or '..'"
        case .nameDuplicate: "a name occurs once in a directory"
        case .logMissing: "the header points to an allocation log"
        case .logUnreadable: "an allocation-log block can be read and has the hash of its pointer"
        case .logEntryOutOfRange: "the allocation log names blocks of the file system behind block 256"
        case .logAllocatesUsed: "the allocation log allocates only what is free"
        case .logFreesFree: "the allocation log frees only what is in use"
        case .releaseListUnreadable: "a release-list block can be read and has the hash of its pointer"
        case .releaseEntryDangling: "the release list names nodes that exist"
        case .releaseEntryNamed: "a node on the release list has no name"
        case .releaseEntryTwice: "a node is on the release list once"
        case .releasedDirectoryNotEmpty: "a directory on the release list is empty"
        case .releasedNodeLinks: "a node on the release list has no links"
        case .releaseListLong: "the release list is one block: the reference loses its way in longer ones"
        case .extensionInvalid: "an extension of a node can be decoded"
        case .attributesUnreadable: "a block of extended attributes can be read and has the hash of its pointer"
        case .attributesInvalid: "extended attributes can be decoded"
        }
    }
}
