/**
 * Neural-network layers and the models built from them.
 */
package dev.heddle.layers;
