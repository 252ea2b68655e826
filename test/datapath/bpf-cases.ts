/**
 * All cases of the BPF programs, in this order. Imported together and not one after the other: with a
 * teardown tap ends a file that is idle for a moment, and on a busy machine loading the next cases
 * takes longer.
 */
import './bpf-itr-cases.js'
import './bpf-live-cases.js'
import './bpf-group-cases.js'
import './bpf-etr-cases.js'
import './bpf-path-mtu-cases.js'
import './bpf-vector-cases.js'
import './bpf-site-cases.js'
import './bpf-interwork-cases.js'
import './bpf-panel-cases.js'
