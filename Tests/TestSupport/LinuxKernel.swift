import Platform

/// The kernel that the tests run on.
public enum LinuxKernel {
    /// Why a router that dies can't go unnoticed here, or nil.
    public static let routerObstacle: String? = {
        let release = KernelRelease.current
        return release.version < (6, 9)
            ? "Linux \(release.text) can't hand a dead router's requests out again, 6.9 can" : nil
    }()
}
