//! Semantic types of numbers and their units.
//!
//! Source: Azure/opendigitaltwins-dtdl, the tables of DTDL v2 "Semantic Type" and of the extension "QuantitativeTypes
//! v1" of DTDL v3, which has all that v2 has, and more.

use crate::context::Language::{self, V2, V3};

/// What a number measures, and in which unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity {
    /// The semantic type, such as `Temperature`.
    pub semantic_type: &'static str,
    /// The unit, such as `degreeCelsius`.
    pub unit: &'static str,
}

/// A semantic type: a kind of quantity.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SemanticType {
    pub(crate) name: &'static str,
    pub(crate) unit_type: &'static str,
    since: Language,
}

/// The units of one kind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnitType {
    pub(crate) name: &'static str,
    /// In v2 and v3.
    units: &'static [&'static str],
    /// In v3 only.
    newer: &'static [&'static str],
}

impl SemanticType {
    pub(crate) fn named(name: &str, language: Language) -> Option<&'static SemanticType> {
        SEMANTIC_TYPES.iter().find(|known| known.name == name && known.since <= language)
    }

    /// The unit of that name, if this quantity can be given in it.
    pub(crate) fn unit(&self, name: &str, language: Language) -> Option<&'static str> {
        UnitType::named(self.unit_type)?.units(language).find(|unit| *unit == name)
    }
}

impl UnitType {
    pub(crate) fn named(name: &str) -> Option<&'static UnitType> {
        UNIT_TYPES.iter().find(|known| known.name == name)
    }

    pub(crate) fn units(&self, language: Language) -> impl Iterator<Item = &'static str> + use<> {
        let newer = if language == Language::V2 { &[] } else { self.newer };
        self.units.iter().chain(newer).copied()
    }
}

const fn kind(name: &'static str, unit_type: &'static str, since: Language) -> SemanticType {
    SemanticType { name, unit_type, since }
}

const fn units(name: &'static str, units: &'static [&'static str], newer: &'static [&'static str]) -> UnitType {
    UnitType { name, units, newer }
}

#[rustfmt::skip]
const SEMANTIC_TYPES: &[SemanticType] = &[
    kind("Acceleration", "AccelerationUnit", V2),
    kind("Angle", "AngleUnit", V2),
    kind("AngularAcceleration", "AngularAccelerationUnit", V2),
    kind("AngularVelocity", "AngularVelocityUnit", V2),
    kind("ApparentEnergy", "ApparentEnergyUnit", V3),
    kind("ApparentPower", "ApparentPowerUnit", V3),
    kind("Area", "AreaUnit", V2),
    kind("Capacitance", "CapacitanceUnit", V2),
    kind("Concentration", "Unitless", V3),
    kind("Current", "CurrentUnit", V2),
    kind("DataRate", "DataRateUnit", V2),
    kind("DataSize", "DataSizeUnit", V2),
    kind("Density", "DensityUnit", V2),
    kind("Distance", "LengthUnit", V2),
    kind("ElectricCharge", "ChargeUnit", V2),
    kind("Energy", "EnergyUnit", V2),
    kind("EnergyRate", "PowerUnit", V3),
    kind("Force", "ForceUnit", V2),
    kind("Frequency", "FrequencyUnit", V2),
    kind("Humidity", "DensityUnit", V2),
    kind("Illuminance", "IlluminanceUnit", V2),
    kind("Inductance", "InductanceUnit", V2),
    kind("IonizingRadiationDose", "IonizingRadiationDoseUnit", V3),
    kind("Irradiance", "IrradianceUnit", V3),
    kind("Latitude", "AngleUnit", V2),
    kind("Length", "LengthUnit", V2),
    kind("Longitude", "AngleUnit", V2),
    kind("Luminance", "LuminanceUnit", V2),
    kind("Luminosity", "PowerUnit", V2),
    kind("LuminousFlux", "LuminousFluxUnit", V2),
    kind("LuminousIntensity", "LuminousIntensityUnit", V2),
    kind("MagneticFlux", "MagneticFluxUnit", V2),
    kind("MagneticInduction", "MagneticInductionUnit", V2),
    kind("Mass", "MassUnit", V2),
    kind("MassFlowRate", "MassFlowRateUnit", V2),
    kind("Power", "PowerUnit", V2),
    kind("Pressure", "PressureUnit", V2),
    kind("Radioactivity", "RadioactivityUnit", V3),
    kind("ReactiveEnergy", "ReactiveEnergyUnit", V3),
    kind("ReactivePower", "ReactivePowerUnit", V3),
    kind("RelativeDensity", "Unitless", V3),
    kind("RelativeHumidity", "Unitless", V2),
    kind("Resistance", "ResistanceUnit", V2),
    kind("SoundPressure", "SoundPressureUnit", V2),
    kind("Temperature", "TemperatureUnit", V2),
    kind("Thrust", "ForceUnit", V2),
    kind("TimeSpan", "TimeUnit", V2),
    kind("Torque", "TorqueUnit", V2),
    kind("Velocity", "VelocityUnit", V2),
    kind("Voltage", "VoltageUnit", V2),
    kind("Volume", "VolumeUnit", V2),
    kind("VolumeFlowRate", "VolumeFlowRateUnit", V2),
];

#[rustfmt::skip]
const UNIT_TYPES: &[UnitType] = &[
    units("AccelerationUnit", &["centimetrePerSecondSquared", "gForce", "metrePerSecondSquared"], &[]),
    units("AngleUnit", &["degreeOfArc", "minuteOfArc", "radian", "secondOfArc", "turn"], &[]),
    units("AngularAccelerationUnit", &["radianPerSecondSquared"], &[]),
    units(
        "AngularVelocityUnit",
        &["degreePerSecond", "radianPerSecond", "revolutionPerMinute", "revolutionPerSecond"],
        &[],
    ),
    units(
        "ApparentEnergyUnit",
        &[],
        &["gigavoltAmpereHour", "kilovoltAmpereHour", "megavoltAmpereHour", "voltAmpereHour"],
    ),
    units(
        "ApparentPowerUnit",
        &[],
        &["gigavoltAmpere", "kilovoltAmpere", "megavoltAmpere", "millivoltAmpere", "voltAmpere"],
    ),
    units(
        "AreaUnit",
        &["acre", "hectare", "squareCentimetre", "squareFoot", "squareInch", "squareKilometre", "squareMetre",
            "squareMillimetre"],
        &[],
    ),
    units("CapacitanceUnit", &["farad", "microfarad", "millifarad", "nanofarad", "picofarad"], &[]),
    units("ChargeUnit", &["coulomb"], &["ampereHour", "milliampereHour"]),
    units("CurrentUnit", &["ampere", "microampere", "milliampere"], &["kiloampere"]),
    units(
        "DataRateUnit",
        &["bitPerSecond", "bytePerSecond", "exbibitPerSecond", "exbibytePerSecond", "gibibitPerSecond",
            "gibibytePerSecond", "kibibitPerSecond", "kibibytePerSecond", "mebibitPerSecond", "mebibytePerSecond",
            "tebibitPerSecond", "tebibytePerSecond", "yobibitPerSecond", "yobibytePerSecond", "zebibitPerSecond",
            "zebibytePerSecond"],
        &[],
    ),
    units(
        "DataSizeUnit",
        &["bit", "byte", "exbibit", "exbibyte", "gibibit", "gibibyte", "kibibit", "kibibyte", "mebibit", "mebibyte",
            "tebibit", "tebibyte", "yobibit", "yobibyte", "zebibit", "zebibyte"],
        &[],
    ),
    units(
        "DensityUnit",
        &["gramPerCubicMetre", "kilogramPerCubicMetre"],
        &["microgramPerCubicMetre", "milligramPerCubicMetre"],
    ),
    units(
        "EnergyUnit",
        &["electronvolt", "gigajoule", "joule", "kilojoule", "kilowattHour", "megaelectronvolt", "megajoule"],
        &["britishThermalUnit", "gigawattHour", "kiloBritishThermalUnit", "megawattHour", "milliwattHour",
            "terawattHour", "wattHour"],
    ),
    units("ForceUnit", &["newton", "ounce", "pound", "ton"], &[]),
    units("FrequencyUnit", &["gigahertz", "hertz", "kilohertz", "megahertz"], &["millihertz"]),
    units("IlluminanceUnit", &["footcandle", "lux"], &[]),
    units("InductanceUnit", &["henry", "microhenry", "millihenry"], &[]),
    units(
        "IonizingRadiationDoseUnit",
        &[],
        &["gray", "microgray", "microsievert", "milligray", "millisievert", "sievert"],
    ),
    units("IrradianceUnit", &[], &["wattPerSquareMetre"]),
    units(
        "LengthUnit",
        &["astronomicalUnit", "centimetre", "foot", "inch", "kilometre", "metre", "micrometre", "mile",
            "millimetre", "nanometre", "nauticalMile"],
        &[],
    ),
    units("LuminanceUnit", &["candelaPerSquareMetre"], &[]),
    units("LuminousFluxUnit", &["lumen"], &[]),
    units("LuminousIntensityUnit", &["candela"], &[]),
    units("MagneticFluxUnit", &["maxwell", "weber"], &[]),
    units("MagneticInductionUnit", &["tesla"], &["gauss"]),
    units(
        "MassFlowRateUnit",
        &["gramPerHour", "gramPerSecond", "kilogramPerHour", "kilogramPerSecond"],
        &["massPoundPerHour"],
    ),
    units("MassUnit", &["gram", "kilogram", "microgram", "milligram", "slug", "tonne"], &["massPound"]),
    units(
        "PowerUnit",
        &["gigawatt", "horsepower", "kilowatt", "kilowattHourPerYear", "megawatt", "microwatt", "milliwatt", "watt"],
        &["britishThermalUnitPerHour", "gigajoulePerHour", "joulePerHour", "joulePerSecond",
            "kiloBritishThermalUnitPerHour", "kilojoulePerHour", "kilojoulePerSecond", "megajoulePerHour",
            "tonOfRefrigeration"],
    ),
    units(
        "PressureUnit",
        &["bar", "inchesOfMercury", "inchesOfWater", "kilopascal", "millibar", "millimetresOfMercury", "pascal",
            "poundPerSquareInch"],
        &["decapascal", "hectopascal"],
    ),
    units("RadioactivityUnit", &[], &["becquerel", "gigabecquerel", "kilobecquerel", "megabecquerel"]),
    units(
        "ReactiveEnergyUnit",
        &[],
        &["gigavoltAmpereReactiveHour", "kilovoltAmpereReactiveHour", "megavoltAmpereReactiveHour",
            "voltAmpereReactiveHour"],
    ),
    units(
        "ReactivePowerUnit",
        &[],
        &["gigavoltAmpereReactive", "kilovoltAmpereReactive", "megavoltAmpereReactive", "millivoltAmpereReactive",
            "voltAmpereReactive"],
    ),
    units("ResistanceUnit", &["kiloohm", "megaohm", "milliohm", "ohm"], &[]),
    units("SoundPressureUnit", &["bel", "decibel"], &[]),
    units("TemperatureUnit", &["degreeCelsius", "degreeFahrenheit", "kelvin"], &[]),
    units("TimeUnit", &["day", "hour", "microsecond", "millisecond", "minute", "nanosecond", "second", "year"], &[]),
    units("TorqueUnit", &["newtonMetre"], &[]),
    units(
        "Unitless",
        &["percent", "unity"],
        &["partsPerBillion", "partsPerMillion", "partsPerQuadrillion", "partsPerTrillion"],
    ),
    units(
        "VelocityUnit",
        &["centimetrePerSecond", "kilometrePerHour", "kilometrePerSecond", "knot", "metrePerHour", "metrePerSecond",
            "milePerHour", "milePerSecond"],
        &[],
    ),
    units("VoltageUnit", &["kilovolt", "megavolt", "microvolt", "millivolt", "volt"], &[]),
    units(
        "VolumeFlowRateUnit",
        &["litrePerHour", "litrePerSecond", "millilitrePerHour", "millilitrePerSecond"],
        &["cubicFootPerMinute", "cubicMetrePerHour", "cubicMetrePerMinute", "cubicMetrePerSecond", "gallonPerHour",
            "gallonPerMinute", "litrePerMinute", "millilitrePerMinute"],
    ),
    units(
        "VolumeUnit",
        &["cubicCentimetre", "cubicFoot", "cubicInch", "cubicMetre", "fluidOunce", "gallon", "litre", "millilitre"],
        &[],
    ),
];
