import { publishedPackage } from '../../tsup.base'

/** The heartbeat thread's code is a file of its own, which each build looks for beside itself. */
export default publishedPackage({
  entry: ['src/index.ts', 'src/heartbeat-worker.ts'],
  dts: { entry: 'src/index.ts' },
  shims: true,
})
