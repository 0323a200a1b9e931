/// Every rule of the format that a check holds an image against, one case each.
///
/// The raw value is the stable name that JSON output and tests use.
public enum Rule: String, Sendable, CaseIterable, Codable {
    // Header ring.
    case headerTorn
    case headerMisplaced
    case headerForeign
    case headerSizeWrong
    case headerEncryptedHashWrong
    case generationNotWhole

    // Pointers and blocks in general.
    case pointerOutOfRange
    case pointerLevelInvalid
    case nullPointerLevels
    case blockUsedTwice
    case blockUsedAndFree
    case blockLeaked

    // Tree.
    case treeMissing
    case treeBlockUnreadable
    case treeBitmapWrong
    case treeBlockEmpty
    case treeReservedSlotUsed
    case rootMissing
    case rootNotDirectory

    // Nodes.
    case nodeUnreadable
    case nodeModeInvalid
    case nodeLinksWrong
    case nodeBlocksTooHigh
    case nodeBlocksTooLow
    case nodeRecordLevelInvalid
    case nodeFlagsInvalid
    case nodeSizeInvalid
    case nodeTimeInvalid
    case nodeSecondsInvalid
    case nodeOrphaned

    // Records.
    case listUnreadable
    case listEmpty
    case recordLevelInvalid
    case recordsBeyondEnd
    case recordUnreadable
    case compressedRecordInvalid

    // Directories.
    case directoryPointersInvalid
    case directoryListUnreadable
    case directoryListInvalid
    case directorySizeWrong
    case directoryNotCleared
    case directoryLinkedTwice
    case directoryCycle
    case hashTreeBlockUnreadable
    case hashTreeBlockEmpty
    case hashTreeOrderWrong
    case hashTreeKeyWrong
    case entryMisplaced
    case entryDangling
    case nameInvalid
    case nameDuplicate

    // Allocation log.
    case logMissing
    case logUnreadable
    case logEntryOutOfRange
    case logAllocatesUsed
    case logFreesFree

    // Release list.
    case releaseListUnreadable
    case releaseEntryDangling
    case releaseEntryNamed
    case releaseEntryTwice
    case releasedDirectoryNotEmpty
    case releasedNodeLinks
    case releaseListLong

    // Extension of a node.
    case extensionInvalid
    case attributesUnreadable
    case attributesInvalid
}
