export {
  type GraphileWorkerAdapter,
  type GraphileWorkerAdapterOptions,
  graphileWorkerAdapter,
} from './adapter.js'
export type { HandOffHandler, HandOffHelpers, HandOffOptions } from './hand-off.js'
