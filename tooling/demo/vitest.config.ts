export { tests as default } from '../../testing/base.js'
